"""What a tuning found, in sentences and tables: the verdict first."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.report.tables import Table
from exporter.tune.outcome import Compared, Drafting, Speeds, TuningOutcome
from runtime_py.bench.paired import LEAST_PROMPTS

MUCH_REPETITION = 0.2
"""Share of repeated text above which acceptance flatters a drafter."""


def headline(found: TuningOutcome) -> str:
    """Whether it was worth it, in a sentence."""
    before, after = found.held_out.before.acceptance, found.held_out.after.acceptance
    shares = f"{after:.1%} of drafts accepted, {before:.1%} before"
    if found.gained:
        return f"The tuned drafter is right more often: {shares}"
    worse = found.held_out.acceptance_gain.beyond_noise
    return (
        f"{'The tuned drafter is right less often' if worse else 'No gain beyond chance'}: {shares}"
    )


def meaning(found: TuningOutcome) -> Iterator[str]:
    """What that means, a sentence each."""
    compared = found.held_out
    before, after = compared.before.tokens_per_round, compared.after.tokens_per_round
    yield f"{gain(compared)}."
    if not found.written:
        yield "No drafter was written: what chance explains is no reason to change one."
    elif not found.gained:
        yield "The drafter was written all the same, because that was asked for with --force."
    yield (
        f"A round of {found.draft_length} drafts emits {after:.2f} tokens, {before:.2f} before. It costs the "
        f"same with either drafter: MTP is now {_ratio(after, before):.2f} times as fast. "
        f"Against plain decoding MTP pays where a round costs less than {after:.2f} decodes of the target; "
        "mtp-export bench measures what it costs on a machine."
    )
    if found.speeds is not None:
        yield speed(found.speeds)


def speed(speeds: Speeds) -> str:
    """Tokens/s, and the draft length to export with."""
    best = {None: "", 0: " With the stock engine MTP is best left off."}.get(
        speeds.best_draft_length,
        f" For the stock engine, export with --draft-length {speeds.best_draft_length}.",
    )
    return (
        f"Here, in the reference runtime, a round costs {speeds.round_cost:.2f} decodes. From that, expect "
        f"{speeds.plain:.1f} tokens/s without MTP, {speeds.before:.1f} with the drafter before, "
        f"{speeds.after:.1f} with the tuned one.{best}"
    )


def forgetting(found: TuningOutcome) -> str:
    """What became of general text."""
    if (general := found.general) is None:
        return (
            "Not measured: --keep FILE, with prompts that have nothing to do with the training, shows what "
            "was forgotten."
        )
    return f"On prompts that were not trained on, nor any like them: {gain(general)}."


def gain(compared: Compared) -> str:
    """What a comparison says, with its noise."""
    shares, tokens = compared.acceptance_gain, compared.tokens_gain
    errors = ("", "")
    if shares.error is not None and tokens.error is not None:
        errors = (f" (standard error {shares.error * 100:.1f})", f" ({tokens.error:.2f})")
    noise = "" if shares.beyond_noise else "; that is within the noise"
    if shares.prompts < LEAST_PROMPTS:
        noise = "; that is too few to conclude anything"
    return (
        f"{shares.difference * 100:+.1f} points of drafts accepted{errors[0]} and {tokens.difference:+.2f} "
        f"tokens a round{errors[1]}, paired over {shares.prompts} prompts{noise}"
    )


def _ratio(after: float, before: float) -> float:
    return after / before if before else 1.0


def figures(compared: Compared) -> Table:
    """Before and after; positions as shares of all rounds, then given that those before were accepted."""
    before, after = (_figures(side) for side in (compared.before, compared.after))
    rows = tuple((name, was, now) for (name, was), (_, now) in zip(before, after, strict=True))
    return Table(("", "before", "after"), rows)


def _figures(drafting: Drafting) -> Iterator[tuple[str, str]]:
    yield "drafts accepted", f"{drafting.acceptance:.1%}"
    for place, share in enumerate(drafting.by_position, start=1):
        yield f"draft {place}, of all rounds", f"{share:.1%}"
    for place, chance in enumerate(drafting.conditional[1:], start=2):
        yield f"draft {place}, where those before were", f"{chance:.1%}"
    yield "tokens a round", f"{drafting.tokens_per_round:.2f}"
    yield "lost to the head", f"{drafting.lost_to_head:.1%}"


def notes(found: TuningOutcome) -> Iterator[str]:
    """What a reader must know before believing the figures."""
    if found.data.repeated_share > MUCH_REPETITION:
        yield (
            f"{found.data.repeated_share:.0%} of the held-out text repeats itself: drafting "
            "is easy there, expect less of other text"
        )
    if found.data.cut > found.data.training_prompts / 2:
        yield f"{found.data.cut} answers were cut by the limit of tokens: --max-tokens moves it"


def data(found: TuningOutcome) -> Table:
    """What became of the prompts."""
    counts = found.data
    return _listed(
        ("prompts given", f"{counts.given:,}"),
        ("repeated, left out", f"{counts.duplicates:,}"),
        ("too long for the context, left out", f"{counts.too_long:,}"),
        ("with answers that loop, left out", f"{counts.looping:,}"),
        ("with answers of a token or two, left out", f"{counts.too_short:,}"),
        ("trained on", f"{counts.training_prompts:,}"),
        ("watched, to know when to end", f"{counts.watched_prompts:,}"),
        ("held out, for these figures", f"{counts.held_out_prompts:,}"),
        ("tokens of answers trained on", f"{counts.training_tokens:,}"),
        ("tokens of answers held out", f"{counts.held_out_tokens:,}"),
        ("answers cut by the limit of tokens", f"{counts.cut:,}"),
        ("held-out text that repeats itself", f"{counts.repeated_share:.1%}"),
    )


def effort(found: TuningOutcome) -> Table:
    """What it took."""
    took = found.effort
    return _listed(
        ("training steps, of those planned", f"{took.steps:,} of {took.planned_steps:,}"),
        ("times through the answers", f"{took.epochs:.1f}"),
        ("generating answers", f"{took.answer_seconds:,.0f} s"),
        ("reading them through the target", f"{took.feature_seconds:,.0f} s"),
        ("training", f"{took.training_seconds:,.0f} s"),
        ("features on the disk", f"{took.feature_bytes / 1e6:,.0f} MB"),
        ("memory at its highest", f"{took.peak_memory_bytes / 1e6:,.0f} MB"),
        ("device", took.device),
    )


def _listed(*rows: tuple[str, str]) -> Table:
    return Table((), rows)
