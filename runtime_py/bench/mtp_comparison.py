"""Answers with MTP off and on, several times in turn: speed, and whether they say the same.

The engine counts a final stop token without MTP, but mostly not with it. So an answer whose text is that of
plain decoding has as many tokens as that, whatever was counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from statistics import median
from typing import Any

from runtime_py.bench.drafts import Drafts
from runtime_py.bench.paired import Count, paired_gain
from runtime_py.bench.verdict import MtpVerdict, Speed, judge
from runtime_py.bench.verdict_text import as_json
from runtime_py.loop.rounds import Acceptance
from runtime_py.reply import Reply, RunResult
from runtime_py.same_text import ReplyLimits, first_difference, same_text

SHOWN = 40
"""Characters of texts that differ."""


@dataclass(frozen=True)
class MtpSide:
    """All answers with MTP off, or on."""

    tokens: int
    """Of all answers; decoding is deterministic, so of every round."""
    tokens_per_second: float
    """Over the rounds: of each conversation its median time counts, as for the speed-up."""
    rates: tuple[float, ...]
    """Tokens/s, by round."""
    time_to_first_token: float
    """Seconds, the median of all answers."""


@dataclass(frozen=True)
class Difference:
    """Where an answer with MTP parts from the one without."""

    answer: int
    """From 1."""
    what: str
    after: int
    """Characters that are the same."""
    off: str
    on: str

    def told(self) -> str:
        """In a sentence."""
        return (
            f"the {self.what} of answer {self.answer} differ after {self.after} characters: MTP off "
            f"{self.off!r}, on {self.on!r}"
        )


@dataclass(frozen=True)
class MtpComparison:
    """What rounds of answers with MTP off and on show."""

    answers: int
    off: MtpSide
    on: MtpSide
    speed: Speed | None
    """With its bounds where there are prompts enough; None where nothing was timed."""
    by_round: tuple[float, ...]
    """Tokens/s with MTP by those without, a round each."""
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    verdict: MtpVerdict | None
    """None where the drafter drafted nothing, but the context did."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "verdict": as_json(self.verdict) if self.verdict else None}


def compare_runs(
    off: Sequence[RunResult],
    on: Sequence[RunResult],
    limits: ReplyLimits,
    drafts: int,
    *,
    adaptive: bool,
) -> MtpComparison:
    """Compare rounds.

    Args:
        off: All answers without MTP, once a round.
        on: As many rounds with it.
        limits: What can have cut an answer short.
        drafts: Of a full round of the speculative loop.
        adaptive: Whether the runtime drafted as many only where that seemed to pay.
    """
    rounds = list(zip(off, on, strict=True))
    plain = [_seconds(run) for run in off]
    drafted = [_seconds(run) for run in on]
    both = zip(off[0].replies, on[0].replies, strict=True)
    tokens = list(zip(*(_counted(*replies) for replies in both), strict=True))
    sides = _side(off, tokens[0], plain), _side(on, tokens[1], drafted)
    by_round = tuple(_by(b, a) for a, b in zip(sides[0].rates, sides[1].rates, strict=True))
    speed = _speed(tokens, [_medians(plain), _medians(drafted)], by_round)
    differences = {d.answer: d for one, other in rounds for d in _differences(one, other, limits)}
    return MtpComparison(
        len(off[0].texts),
        *sides,
        speed,
        by_round,
        tuple(differences[answer] for answer in sorted(differences)),
        tuple(_notes(off[0], on[0], sides, differences=bool(differences))),
        drafts_verdict(on[0], drafts, adaptive=adaptive, speed=speed),
    )


def drafts_verdict(
    on: RunResult, drafts: int, *, adaptive: bool, speed: Speed | None = None
) -> MtpVerdict | None:
    """What answers with MTP say of it; None where all drafts were looked up in the context.

    Args:
        on: The answers.
        drafts: Of a full round.
        adaptive: Whether the runtime drafted as many only where that seemed to pay.
        speed: What was measured; what was looked up is not the drafter's, and leaves it out.
    """
    counts = [Acceptance.of([r for reply in c for r in reply.rounds]) for c in on.replies]
    found = Drafts.of(counts, drafts, adaptive=adaptive)
    if found is None:
        found = Drafts.of_rate(on.success_rate, drafts, len(on.replies))
    looked_up = bool(on.lookup_acceptance.drafted)
    if found is None and looked_up:
        return None
    return judge(found, measured=None if looked_up else speed)


def _counted(off: Sequence[Reply], on: Sequence[Reply]) -> tuple[int, int]:
    """Tokens of a conversation on both sides."""
    pairs = zip(off, on, strict=True)
    with_ = sum(a.decode_tokens if a.text == b.text else b.decode_tokens for a, b in pairs)
    return sum(reply.decode_tokens for reply in off), with_


def _seconds(run: RunResult) -> list[float]:
    """Of decoding, by conversation."""
    return [sum(reply.decode_seconds for reply in replies) for replies in run.replies]


def _medians(by_round: Sequence[Sequence[float]]) -> list[float]:
    return [median(seconds) for seconds in zip(*by_round, strict=True)]


def _side(
    runs: Sequence[RunResult], tokens: Sequence[int], seconds: Sequence[Sequence[float]]
) -> MtpSide:
    first = [reply.time_to_first_token for run in runs for reply in chain(*run.replies)]
    rates = tuple(_by(sum(tokens), sum(round_)) for round_ in seconds)
    rate = _by(sum(tokens), sum(_medians(seconds)))
    return MtpSide(sum(tokens), rate, rates, median(first))


def _by(one: float, other: float) -> float:
    return one / other if other else 0.0


def _speed(
    tokens: Sequence[Sequence[int]], seconds: Sequence[Sequence[float]], by_round: Sequence[float]
) -> Speed | None:
    """From medians by prompt; bounds take in other prompts and the rounds."""
    before, after = (
        [Count(*pair) for pair in zip(*side, strict=True)]
        for side in zip(tokens, seconds, strict=True)
    )
    found = Speed.of_pairs(paired_gain(before, after))
    if found is None or found.low is None or found.high is None:
        return found
    return replace(found, low=min(found.low, *by_round), high=max(found.high, *by_round))


def _differences(off: RunResult, on: RunResult, limits: ReplyLimits) -> Iterator[Difference]:
    pairs = zip(chain(*off.replies), chain(*on.replies), strict=True)
    for answer, (without, with_) in enumerate(pairs, start=1):
        if not same_text(without, with_, limits):
            what, a, b = next(parts for parts in _parts(without, with_) if parts[1] != parts[2])
            after = first_difference(a, b) or 0
            yield Difference(answer, what, after, a[after:][:SHOWN], b[after:][:SHOWN])


def _parts(off: Reply, on: Reply) -> Iterator[tuple[str, str, str]]:
    """What an answer consists of, on both sides."""
    yield "thoughts", off.thought, on.thought
    yield "texts", off.text, on.text
    yield "tool calls", json.dumps(off.tool_calls), json.dumps(on.tool_calls)


def _notes(
    off: RunResult, on: RunResult, sides: Sequence[MtpSide], *, differences: bool
) -> Iterator[str]:
    if off.texts != on.texts and not differences:
        yield (
            "answers that the limit cut off are longer with MTP on: the engine passes the limit by up to "
            "a round"
        )
    if on.decode_tokens < sides[1].tokens:
        yield (
            f"with MTP on the engine counts {on.decode_tokens} tokens, as it mostly leaves out the stop "
            f"token that ends an answer; equal texts are taken for equally many"
        )
