"""Our torch modules, against unmodified transformers."""
