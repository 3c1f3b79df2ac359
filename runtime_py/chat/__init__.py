"""Conversations as values, as text and as tokens."""
