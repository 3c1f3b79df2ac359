"""Mutation fuzzing of every reader of files that strangers may have written; ``scripts/fuzz.py`` runs it."""
