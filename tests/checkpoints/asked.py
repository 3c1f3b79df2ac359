"""What tests of checkpoints ask transformers."""

from exporter.verify.sides.golden import Question

TOKENS = tuple(7 * n % 1990 + 70 for n in range(80))
"""Any text longer than the window of 64."""

QUESTION = Question(TOKENS, tuple(range(80)), (), 0)
