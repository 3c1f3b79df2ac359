"""A benchmark as tables, which the terminal and the page show alike."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.report.tables import Table
from runtime_py.bench.costs import Costs, Timing
from runtime_py.bench.run import Bench

MIB = 1 << 20


def sides(found: Bench) -> Table:
    """Each runtime with MTP off and on: medians over the rounds."""
    header = ("runtime", "tokens/s", "load, s", "peak memory, MiB", "of it anonymous")
    rows = (
        (
            f"{side.runtime}, MTP {'on' if side.mtp else 'off'}",
            f"{side.tokens_per_second:.1f}",
            f"{side.load_seconds:.2f}",
            f"{side.peak_resident_bytes / MIB:.0f}",
            f"{side.peak_anonymous_bytes / MIB:.0f}",
        )
        for side in found.sides
    )
    return Table(header, tuple(rows))


def ratios(found: Bench) -> Table:
    """Tokens/s of one side by another's."""
    header = ("tokens/s by one another", "median", "lowest", "highest", "best rounds")
    rows = (
        (each.name, *(f"{x:.2f}" for x in (each.median, each.low, each.high, each.of_best)))
        for each in found.ratios
    )
    return Table(header, tuple(rows))


def costs(found: Bench) -> Table:
    """What single calls take."""
    header = ("one call, reference runtime", "ms", "quartiles", "by a decode")
    decode = found.costs.decode.median
    rows = (
        (
            name,
            f"{timing.median * 1e3:.2f}",
            f"{timing.low * 1e3:.2f} to {timing.high * 1e3:.2f}",
            f"{timing.median / decode:.3f}",
        )
        for name, timing in _timings(found.costs, found.draft_length)
    )
    return Table(header, tuple(rows))


def _timings(costs: Costs, drafts: int) -> Iterator[tuple[str, Timing]]:
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
        yield "embedding lookups", costs.lookup
    yield "choosing a token", costs.choose


def positions(found: Bench) -> Table | None:
    """Accepted drafts by position in the round; None where nothing was drafted."""
    counts = found.acceptance
    if counts is None or counts.rate is None:
        return None
    header = ("draft", "drafted", "accepted", "share", "where those before it were")
    pairs = zip(counts.drafted, counts.accepted, found.chances, strict=True)
    rows = (
        (str(place), str(drafted), str(accepted), f"{accepted / drafted:.2f}", f"{chance:.2f}")
        for place, (drafted, accepted, chance) in enumerate(pairs, start=1)
    )
    return Table(header, tuple(rows))


def curve(found: Bench) -> Table | None:
    """Speed-up by draft length, a star at what was not measured; None where nothing was drafted."""
    if not found.curve:
        return None
    header = ("drafts a round", "tokens a round", "speed-up, line", "speed-up, steps")
    rows = (
        (
            str(point.drafts),
            _starred(point.tokens, point.tokens_measured),
            _starred(point.line, point.drafts == found.draft_length),
            _starred(point.steps, point.steps_measured),
        )
        for point in found.curve
    )
    return Table(header, tuple(rows), words=0)


def _starred(value: float, measured: bool) -> str:
    return f"{value:.2f}{' ' if measured else '*'}"
