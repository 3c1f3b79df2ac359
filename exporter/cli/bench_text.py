"""A benchmark in words: for a terminal, with its tables, and the sentences that its page has, too."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.cli import bench_tables as tables
from exporter.report.tables import Table
from runtime_py.bench.run import Bench
from runtime_py.bench.verdict_text import told


def render(found: Bench) -> str:
    """All figures, in the order of the questions one asks."""
    lines = [f"{found.bundle}: {found.draft_length} drafts per round", machine(found), asked(found)]
    lines += _block(tables.sides(found))
    if found.ratios:
        lines += _block(tables.ratios(found))
    lines += [*_block(tables.costs(found)), *draft_calls(found)]
    if (positions := tables.positions(found)) is not None:
        lines += ["", accepted(found), *positions.aligned()]
    if (curve := tables.curve(found)) is not None:
        lines += ["", CURVE, *curve.aligned(), *about_curve(found)]
    if found.notes:
        lines += ["", *(f"note: {note}" for note in found.notes)]
    return "\n".join([*lines, "", f"verdict: {told(found.verdict)}"])


CURVE = "speed-up over plain decoding by draft length, from these costs and chances"


def _block(table: Table) -> list[str]:
    return ["", *table.aligned()]


def machine(found: Bench) -> str:
    """What it ran on."""
    told = found.machine
    instructions = ", ".join(told.instructions) or "instruction sets unknown"
    return (
        f"{told.processor}, {told.cores} cores ({instructions}), {found.threads} threads; load average "
        f"{told.load_before:.1f} before, {told.load_after:.1f} after"
    )


def asked(found: Bench) -> str:
    """What was measured."""
    return (
        f"{found.prompts} prompts, up to {found.max_new_tokens} tokens each, {found.rounds} rounds; "
        "medians"
    )


def draft_calls(found: Bench) -> Iterator[str]:
    """What drafting in one call saves, where the bundle can."""
    if found.costs.draft_round_share is not None:
        yield (
            f"{found.draft_length} drafts in one call by {found.draft_length} draft steps, in the rounds "
            f"before: {found.costs.draft_round_share:.2f}"
        )


def accepted(found: Bench) -> str:
    """Of all drafts, as each runtime counts them."""
    rate = found.acceptance.rate if found.acceptance else None
    engine = found.engine_success_rate
    theirs = f"; the stock engine says {engine:.2f}" if engine is not None else ""
    return f"drafts accepted: {rate or 0:.2f}{theirs}"


def about_curve(found: Bench) -> tuple[str, str]:
    """How to read the speed-ups by draft length."""
    rows = found.draft_length + 1
    return (
        "* not measured. Later drafts: as likely as the last one measured. line: a verify costs the same "
        "more for each token;",
        f"steps: it costs one verify of {rows} for each {rows} tokens begun, as in this bundle for shorter "
        "drafts.",
    )
