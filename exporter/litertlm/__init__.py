"""The `.litertlm` format: weights bound into LiteRT graphs, sections packed into one file."""
