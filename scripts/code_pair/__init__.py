"""Parts of `make_trained_pair.py`: a pair trained on the source text of Python's standard library."""
