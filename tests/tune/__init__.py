"""Tuning a drafter: what it computes, that it helps where it can, and that it says so where it cannot."""
