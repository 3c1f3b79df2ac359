"""Parts of `make_planted_pair.py`: checkpoints of any size whose greedy output is known."""
