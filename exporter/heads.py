"""The two ways a drafter's head can be exported."""

from __future__ import annotations

import enum


class HeadKind(enum.StrEnum):
    """How the drafter scores the vocabulary."""

    CENTROID = "centroid"
    """Only the tokens of the clusters nearest to the hidden state, as the checkpoint was trained."""
    FULL = "full"
    """Every token, with the same embedding rows."""
