"""Rung: how many drafts are accepted, by their position in the round."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.verify.answers import NO_ANSWERS, PromptAnswers
from exporter.verify.evidence import Evidence
from exporter.verify.mtp import acceptances
from exporter.verify.rung import Bound, Figure, Rung, Title
from exporter.verify.tolerances import LEAST_ACCEPTANCE
from runtime_py.bench.verdict_text import told
from runtime_py.loop.rounds import Acceptance

TITLE = Title(
    "acceptance",
    "Accepted drafts, by position in the round",
    "Give export the drafter that belongs to this target; one that was trained for another is hardly ever "
    "right, and then --no-drafter is faster. If the target is a fine-tune, adapt its drafter with "
    "`mtp-export tune`.",
)

REASON = (
    f"at least {LEAST_ACCEPTANCE:.0%} of all drafts: a drafter that is hardly ever right is broken or "
    "belongs to another target; more than that is quality, which has no right value"
)


def count(answers: Sequence[PromptAnswers]) -> Acceptance:
    """Over all speculative answers."""
    return Acceptance.total(acceptances(answers))


def judge(evidence: Evidence) -> Rung:
    """Rates of the reference runtime; the engine's own beside them."""
    if not evidence.inspection.has_drafter:
        return TITLE.skipped("the bundle has no drafter, so nothing is drafted")
    answers, engine = evidence.answers, evidence.engine.on
    if not answers:
        return TITLE.skipped(NO_ANSWERS)
    found = count(answers)
    if found.rate is None:
        return TITLE.skipped("every answer ends with its first token, so nothing is drafted")
    figures = [
        Figure("drafts accepted, share", found.rate, LEAST_ACCEPTANCE, Bound.AT_LEAST),
        Figure("drafts", sum(found.drafted)),
    ]
    figures += [
        Figure(f"draft {position} accepted, share", accepted / drafted)
        for position, (drafted, accepted) in enumerate(
            zip(found.drafted, found.accepted, strict=True), start=1
        )
    ]
    rounds = [r for a in answers if a.speculative for r in a.speculative.rounds if r.drafted]
    emitted = sum(done.accepted + 1 for done in rounds) / len(rounds)
    figures.append(Figure("tokens per verify", emitted))
    if engine is not None and engine.success_rate is not None:
        figures.append(Figure("stock engine's own success rate", engine.success_rate))
    note = "" if evidence.mtp is None else told(evidence.mtp).removesuffix(".")
    return TITLE.judged(figures, REASON, note=note)
