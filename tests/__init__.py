"""Tests, offline, climbing a ladder: every rung is compared with the one below it."""
