"""The reference runtime: its loop for any drafter, then real bundles."""
