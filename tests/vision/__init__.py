"""Pictures: the tower, its graphs, bundles that see."""
