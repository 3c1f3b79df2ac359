"""How well a model's logits fit a text, and another model's logits on the same text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Wide = NDArray[np.float64]


def log_softmax(logits: Floats) -> Wide:
    """Log probabilities ``[N, V]``."""
    wide = np.asarray(logits, np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    result: Wide = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


@dataclass(frozen=True)
class TextFit:
    """Two models' logits on one text, in nats; ``surprise`` is what each thinks of the tokens that follow."""

    divergences: Wide  # [N], KL divergence of ours from the reference's
    surprise: Wide  # [F]
    reference_surprise: Wide  # [F]

    @property
    def divergence(self) -> float:
        """The mean; below zero it is an error of rounding."""
        return max(float(self.divergences.mean()), 0.0)


def fit_text(ours: Floats, reference: Floats, following: Sequence[int]) -> TextFit:
    """Compare logits ``[N, V]``; the first of them are followed by the tokens ``following``."""
    here, there = log_softmax(ours), log_softmax(reference)
    return TextFit(
        (np.exp(there) * (there - here)).sum(axis=1),
        _surprise(here, following),
        _surprise(there, following),
    )


def _surprise(log_chances: Wide, following: Sequence[int]) -> Wide:
    rows = np.arange(len(following))
    result: Wide = -log_chances[rows, np.asarray(following, np.intp)]
    return result
