"""How well a model's logits fit a text, and another model's logits on the same text."""

from __future__ import annotations

from collections.abc import Sequence
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


def divergences(ours: Wide, theirs: Wide) -> Wide:
    """KL divergence of ``ours`` from ``theirs`` at each position, nats ``[N]``; both log ``[N, V]``."""
    result: Wide = (np.exp(theirs) * (theirs - ours)).sum(axis=1)
    return result


def surprise(log_chances: Wide, following: Sequence[int]) -> Wide:
    """What each row of ``[N, V]`` thinks of the token that follows it, nats ``[N]``."""
    result: Wide = -log_chances[np.arange(len(following)), np.asarray(following)]
    return result
