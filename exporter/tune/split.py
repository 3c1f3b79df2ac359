"""Which answers are trained on, which say when to stop, and which are held out for the report.

A prompt's checksum decides, so that a prompt is on the same side however many others there are.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exporter.tune.answers import Answer
from exporter.tune.options import TuneError
from exporter.tune.outcome import DataCounts
from exporter.tune.questions import Tokens

HELD_OUT, WATCHED = 0.1, 0.05
LEAST_HELD_OUT, LEAST_WATCHED = 20, 8
"""Prompts: of fewer, a standard error says little."""

LEAST_TRAINING = 20

STRETCH = 8
"""Tokens of a stretch that counts as repeated."""


@dataclass(frozen=True)
class Split:
    """Answers by what they are for."""

    training: tuple[Answer, ...]
    watched: tuple[Answer, ...]
    held_out: tuple[Answer, ...]


def unique(prompts: Sequence[Tokens | None]) -> list[Tokens]:
    """The prompts without repetitions and without those that are too long."""
    return list(dict.fromkeys(prompt for prompt in prompts if prompt is not None))


def usable(answers: Sequence[Answer]) -> list[Answer]:
    """Those that neither loop nor are too short to draft in."""
    return [answer for answer in answers if answer.starts > 1 and not answer.loops]


def require_enough(prompts: int) -> None:
    """Check that there are enough prompts to train on some and judge by others.

    Raises:
        TuneError: There are too few.
    """
    least = LEAST_HELD_OUT + LEAST_WATCHED + LEAST_TRAINING
    if prompts < least:
        raise TuneError(
            f"expected {least} different prompts with usable answers at least ({LEAST_HELD_OUT} are held out "
            f"to judge by), found {prompts}; some thousand are better: give more prompts"
        )


def split(answers: Sequence[Answer]) -> Split:
    """Share usable answers out.

    Raises:
        TuneError: There are too few to train on some and judge by others.
    """
    require_enough(len(answers))
    ordered = sorted(answers, key=lambda answer: checksum(answer.prompt))
    held = max(LEAST_HELD_OUT, math.ceil(HELD_OUT * len(ordered)))
    watched = held + max(LEAST_WATCHED, math.ceil(WATCHED * len(ordered)))
    return Split(tuple(ordered[watched:]), tuple(ordered[held:watched]), tuple(ordered[:held]))


def checksum(prompt: Tokens) -> str:
    """SHA-256 of a prompt's tokens."""
    return hashlib.sha256(np.array(prompt, "<i8").tobytes()).hexdigest()


def counts(prompts: Sequence[Tokens | None], answers: Sequence[Answer], found: Split) -> DataCounts:
    """What became of all prompts."""
    looping = [answer for answer in answers if answer.loops]
    short = [answer for answer in answers if answer.starts <= 1]
    every = (*found.training, *found.watched, *found.held_out)
    too_long = sum(prompt is None for prompt in prompts)
    return DataCounts(
        given=len(prompts),
        duplicates=len(prompts) - too_long - len(unique(prompts)),
        too_long=too_long,
        looping=len(looping),
        too_short=len(short),
        cut=sum(not answer.tail for answer in every),
        training_prompts=len(found.training),
        watched_prompts=len(found.watched),
        held_out_prompts=len(found.held_out),
        training_tokens=sum(len(answer.tokens) for answer in found.training),
        held_out_tokens=sum(len(answer.tokens) for answer in found.held_out),
        repeated_share=repeated_share(found.held_out),
    )


def repeated_share(answers: Sequence[Answer]) -> float:
    """Share of the stretches of :data:`STRETCH` tokens that stood in the same answer before."""
    total = distinct = 0
    for answer in answers:
        starts = range(len(answer.tokens) - STRETCH + 1)
        total += len(starts)
        distinct += len({answer.tokens[start : start + STRETCH] for start in starts})
    return 1 - distinct / total if total else 0.0
