"""Parts of `make_tiny_pair.py`: the recipe of the trained pair under checkpoints/tiny."""
