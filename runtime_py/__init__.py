"""Running bundles from Python. Needs neither torch nor transformers."""
