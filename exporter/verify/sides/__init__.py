"""The two sides of a comparison: transformers, the torch models, LiteRT graphs, stored weights."""
