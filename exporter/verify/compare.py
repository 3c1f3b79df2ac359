"""Comparing two runs position by position: errors, first choices, near-ties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.verify.rung import NearTie

Floats = NDArray[np.floating[Any]]


def position_errors(ours: Any, reference: Any) -> Floats:
    """Relative error at each position of ``[T, ...]``: ``|ours - reference| / |reference|``.

    A position that is not finite on our side counts as infinitely wrong.
    """
    ours, reference = np.asarray(ours, np.float64), np.asarray(reference, np.float64)
    assert ours.shape == reference.shape, (ours.shape, reference.shape)
    ours, reference = (x.reshape(len(x), -1) for x in (ours, reference))
    off = np.linalg.norm(ours - reference, axis=1)
    errors = off / np.maximum(np.linalg.norm(reference, axis=1), np.finfo(np.float32).tiny)
    return np.where(np.isfinite(errors), errors, np.inf)


def worst(errors: Floats) -> float:
    """The largest error; 0 of none."""
    return float(errors.max(initial=0.0))


def bridged(ours: Any, reference: Any, tolerance: float) -> float:
    """How far apart two logits can be and still change places.

    Twice the largest error of one logit, as measured; never more than the tolerance would allow, so
    that a large error cannot excuse itself.
    """
    ours, reference = np.asarray(ours, np.float64), np.asarray(reference, np.float64)
    measured = float(np.abs(ours - reference).max(initial=0.0))
    return 2 * min(measured, tolerance * float(np.abs(reference).max(initial=0.0)))


def margin(logits: Any) -> float:
    """Distance between the first and the second logit of ``[V]``."""
    second, first = np.partition(np.asarray(logits), -2)[-2:]
    return float(first - second)


@dataclass(frozen=True)
class Disagreements:
    """Where two sides chose differently: explained by noise, or not."""

    near_ties: tuple[NearTie, ...]
    differing: tuple[str, ...]


def compare_choices(
    ours: Floats, reference: Floats, positions: Sequence[int], noise: float
) -> Disagreements:
    """First choices of two ``[N, V]``; near-ties have a reference margin of ``noise`` or less."""
    places = [f"position {position}" for position in positions]
    return compare_tokens(ours.argmax(axis=1).tolist(), reference, places, noise)


def compare_tokens(
    tokens: Sequence[int], reference: Floats, places: Sequence[str], noise: float
) -> Disagreements:
    """Compare N chosen tokens with a reference ``[N, V]``; ``places`` names them for a reader."""
    near_ties, differing = [], []
    for chosen, row, where in zip(tokens, reference, places, strict=True):
        expected = int(row.argmax())
        if chosen == expected:
            continue
        distance = margin(row)
        if distance <= noise:
            near_ties.append(NearTie(where, str(chosen), str(expected), distance, noise))
        else:
            differing.append(
                f"{where}: token {chosen} instead of {expected}, whose margin is {distance:.2g}"
            )
    return Disagreements(tuple(near_ties), tuple(differing))
