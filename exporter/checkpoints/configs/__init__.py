"""A `config.json` of any transformers version becomes an architecture."""
