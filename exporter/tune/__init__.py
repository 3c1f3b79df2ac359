"""Adapting a drafter to its target: it learns to foresee what a fine-tuned target answers."""
