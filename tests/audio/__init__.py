"""Sound: the tower, its graphs, bundles that hear."""
