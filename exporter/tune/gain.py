"""One drafter against another along the same answers: what it gains, and how sure that is."""

from __future__ import annotations

from exporter.tune.judge import Judged
from exporter.tune.outcome import Compared
from runtime_py.bench.paired import paired_gain


def compare(before: Judged, after: Judged) -> Compared:
    """Accepted by drafted and tokens by rounds, paired by prompt."""
    return Compared(
        before.drafting(),
        after.drafting(),
        paired_gain(before.acceptance(), after.acceptance()),
        paired_gain(before.tokens_per_round(), after.tokens_per_round()),
    )
