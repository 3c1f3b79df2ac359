"""Outcomes of tunings that never took place, for their reports."""

from __future__ import annotations

from exporter.tune.outcome import (
    Compared,
    DataCounts,
    Drafting,
    Effort,
    Example,
    Reading,
    Speeds,
    TuningOutcome,
)
from runtime_py.bench.paired import Gain

HOSTILE = "<script>alert('&')</script>"
ROUNDS = 1000


def drafting(*accepted: int) -> Drafting:
    """Of a thousand rounds, so many in which the draft at each position was accepted."""
    drafted = (ROUNDS,) * len(accepted)
    tokens = ROUNDS + sum(accepted)
    return Drafting(ROUNDS, tokens, drafted, accepted, sum(accepted) + 30, sum(drafted))


def compared(before: Drafting, after: Drafting, error: float, prompts: int = 40) -> Compared:
    """With a standard error in shares of drafts."""
    gain = Gain(before.acceptance, after.acceptance, error, None, prompts)
    tokens = Gain(before.tokens_per_round, after.tokens_per_round, 3 * error, None, prompts)
    return Compared(before, after, gain, tokens)


STOCK, TUNED = drafting(300, 120, 45), drafting(780, 600, 420)
GENERAL = compared(drafting(850, 700, 560), drafting(845, 690, 556), 0.01)


def outcome(
    held_out: Compared, *, general: Compared | None = GENERAL, written: bool = True
) -> TuningOutcome:
    """With an example of four tokens, of which one was a draft before and three are after."""
    return TuningOutcome(
        target="support-e2b",
        drafter="gemma-4-E2B-it-assistant",
        recipe="int4",
        draft_length=len(held_out.before.drafted),
        held_out=held_out,
        general=general,
        speeds=Speeds(1.75, 20.0, 16.7, 32.0, 4),
        data=DataCounts(
            given=500,
            duplicates=12,
            too_long=1,
            looping=7,
            too_short=20,
            cut=44,
            training_prompts=360,
            watched_prompts=60,
            held_out_prompts=40,
            training_tokens=81_200,
            held_out_tokens=9_150,
            repeated_share=0.31,
        ),
        effort=Effort(420, 900, 4.7, 812.0, 95.0, 640.0, 504_000_000, 2_900_000_000, "cpu"),
        course=(
            Reading(0, 0.155, None),
            Reading(210, 0.52, 2.1),
            Reading(420, 0.6, 1.4),
        ),
        examples=(
            Example(
                f"Say {HOSTILE}", ("As", " you", f" {HOSTILE}", "\n"), (0, 0, 1, 0), (1, 2, 3, 0)
            ),
        ),
        written=written,
    )
