"""What a bundle is: its layout, its contract, its graphs, read from the file. The runtime stands on it."""
