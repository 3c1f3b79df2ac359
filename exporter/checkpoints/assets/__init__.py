"""Tokenizer, special tokens, chat template and sampler of a checkpoint."""
