"""Several sequences at once, each with its own accepted length."""
