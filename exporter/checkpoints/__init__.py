"""Reading Hugging Face checkpoints: configurations, tensors row by row, tokenizer and template."""
