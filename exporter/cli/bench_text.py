"""A benchmark as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from runtime_py.bench.costs import Costs, Timing
from runtime_py.bench.run import Bench
from runtime_py.bench.verdict_text import told

MIB = 1 << 20


def render(found: Bench) -> str:
    """All figures, in the order of the questions one asks."""
    return "\n".join(
        [
            *_heading(found),
            *_sides(found),
            *_costs(found),
            *_acceptance(found),
            *_curve(found),
            *(["", *(f"note: {note}" for note in found.notes)] if found.notes else []),
            "",
            f"verdict: {told(found.verdict)}",
        ]
    )


def _heading(found: Bench) -> Iterator[str]:
    machine = found.machine
    instructions = ", ".join(machine.instructions) or "instruction sets unknown"
    yield f"{found.bundle}: {found.draft_length} drafts per round"
    yield (
        f"{machine.processor}, {machine.cores} cores ({instructions}), {found.threads} threads; load "
        f"average {machine.load_before:.1f} before, {machine.load_after:.1f} after"
    )
    yield (
        f"{found.prompts} prompts, up to {found.max_new_tokens} tokens each, {found.rounds} rounds; "
        "medians"
    )


def _sides(found: Bench) -> Iterator[str]:
    yield ""
    yield f"{'':24}{'tokens/s':>9}{'load s':>9}{'peak MiB':>10}{'of it anonymous':>17}"
    for side in found.sides:
        name = f"{side.runtime}, MTP {'on' if side.mtp else 'off'}"
        yield (
            f"{name:24}{side.tokens_per_second:9.1f}{side.load_seconds:9.2f}"
            f"{side.peak_resident_bytes / MIB:10.0f}{side.peak_anonymous_bytes / MIB:17.0f}"
        )
    for ratio in found.ratios:
        yield (
            f"{ratio.name}: {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f}; best rounds "
            f"{ratio.of_best:.2f})"
        )


def _costs(found: Bench) -> Iterator[str]:
    yield ""
    yield f"{'one call, reference':24}{'ms':>9}{'quartiles':>18}{'by a decode':>13}"
    for name, timing in _rows(found.costs, found.draft_length):
        quartiles = f"{timing.low * 1e3:.2f} to {timing.high * 1e3:.2f}"
        share = timing.median / found.costs.decode.median
        yield f"{name:24}{timing.median * 1e3:9.2f}{quartiles:>18}{share:13.3f}"

    if found.costs.draft_round_share is not None:
        yield (
            f"{found.draft_length} drafts in one call by {found.draft_length} draft steps, in the "
            f"rounds before: {found.costs.draft_round_share:.2f}"
        )


def _rows(costs: Costs, drafts: int) -> Iterator[tuple[str, Timing]]:
    for length, timing in costs.prefill.items():
        yield f"prefill of {length}", timing
    yield "decode", costs.decode
    if costs.verify:
        yield f"verify of {drafts + 1}", costs.verify
    if costs.draft:
        yield "draft step", costs.draft
    if costs.draft_round:
        yield f"draft of {drafts} in one call", costs.draft_round
    if costs.lookup:
        yield "  embedding lookups", costs.lookup
    yield "  choosing a token", costs.choose


def _acceptance(found: Bench) -> Iterator[str]:
    counts = found.acceptance
    if counts is None or counts.rate is None:
        return
    yield ""
    engine = found.engine_success_rate
    theirs = f"; the stock engine says {engine:.2f}" if engine is not None else ""
    yield f"drafts accepted: {counts.rate:.2f}{theirs}"
    rows = zip(counts.drafted, counts.accepted, found.chances, strict=True)
    for position, (drafted, accepted, chance) in enumerate(rows, start=1):
        yield (
            f"  draft {position}: {accepted} of {drafted} ({accepted / drafted:.2f}); {chance:.2f} where "
            "those before it were"
        )


def _curve(found: Bench) -> Iterator[str]:
    if not found.curve:
        return
    yield ""
    yield "speed-up over plain decoding by draft length, from these costs and chances"
    yield f"{'drafts':>6}{'tokens a round':>16}{'line':>8}{'steps':>8}"
    for point in found.curve:
        tokens = f"{point.tokens:.2f}{' ' if point.tokens_measured else '*'}"
        steps = f"{point.steps:.2f}{' ' if point.steps_measured else '*'}"
        line = f"{point.line:.2f}{' ' if point.drafts == found.draft_length else '*'}"
        yield f"{point.drafts:6}{tokens:>16}{line:>8}{steps:>8}"
    yield (
        "* not measured. Later drafts: as likely as the last one measured. line: a verify costs the same "
        "more for each token;"
    )
    yield (
        f"steps: it costs one verify of {found.draft_length + 1} for each {found.draft_length + 1} tokens "
        "begun, as in this bundle for shorter drafts."
    )
