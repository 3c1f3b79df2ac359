"""One comparison of the parity ladder each."""
