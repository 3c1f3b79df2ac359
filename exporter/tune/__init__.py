"""Adapting a drafter to its target: what a fine-tuned target answers is what the drafter learns to foresee."""
