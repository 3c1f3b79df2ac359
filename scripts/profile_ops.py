"""Where a call's time goes, operation by operation.

    python scripts/profile_ops.py e2b-int4.litertlm --signature verify

By LiteRT's profiler, one thread; of every operation the fastest of all runs counts. `outside` marks
operations that XNNPACK does not take; `matrices` is the share of the products with constant weights,
which no change of the graph can make cheaper.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
from speed.clocks import Call, load
from speed.filled import SizedSection
from speed.litert import PreparedCall, resizing_edit
from speed.op_profiler import Operation, OpProfiler

from exporter.bundle.reader import MAGIC, open_bundle
from exporter.contract.names import DRAFT, Section

MATRICES = "Fully Connected"
"""XNNPACK's name for a product with constant weights; a `Dynamic` one has two computed sides."""

SHOWN = 0.002
"""Share of the whole from which an operation gets a line."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--signature", default="verify", show_default=True, help="Which of the file's signatures."
)
@click.option(
    "--runs", default=20, show_default=True, help="Runs; of every operation the fastest counts."
)
@click.option("--filled", type=int, help="Slots that are filled; only of our bundles.")
@click.option(
    "--slots", default=4096, show_default=True, help="Slots that there are, for --filled."
)
def main(file: Path, signature: str, runs: int, filled: int | None, slots: int) -> None:
    """Profile SIGNATURE of FILE, a bundle or a LiteRT model."""
    if filled is None:
        operations = _profiler(file, signature).profile(signature, runs)
    else:
        sized = SizedSection.find(file, signature, slots)
        profiler = OpProfiler(file, sized.entry.begin, sized.entry.nbytes, sized.edit)
        operations = profiler.profile(signature, runs, partial(_filled, sized, filled))
    total = sum(operation.milliseconds for operation in operations)
    click.echo(
        f"{signature}: {total:.1f} ms in operations, each at its fastest of {runs} runs, {load()}"
    )
    for operation in operations:
        if operation.milliseconds >= SHOWN * total:
            click.echo(_line(operation, total))
    for name, chosen in (
        ("matrices", [o for o in operations if o.name.startswith(MATRICES)]),
        ("outside", [o for o in operations if not o.delegated]),
    ):
        share = sum(operation.milliseconds for operation in chosen) / total
        click.echo(f"{name}: {share:.3f} in {sum(o.count for o in chosen)} operations")


def _filled(sized: SizedSection, filled: int, call: PreparedCall) -> Call:
    prepared = sized.filled(call, filled)
    if prepared is None:
        raise click.ClickException(f"{filled} of {sized.slots} slots cannot be filled by this call")
    return prepared


def _profiler(file: Path, signature: str) -> OpProfiler:
    """Of a model file, or of the section of a bundle that has the signature."""
    with file.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            return OpProfiler(file, 0, file.stat().st_size)
    section = Section.MTP_DRAFTER if signature == DRAFT else Section.PREFILL_DECODE
    bundle = open_bundle(file)
    entry = bundle.model(section)
    if entry is None:
        raise click.ClickException(f"{file} has no section {section.value}")
    return OpProfiler(file, entry.begin, entry.nbytes, resizing_edit(bundle, entry))


def _line(operation: Operation, total: float) -> str:
    share, where = operation.milliseconds / total, "" if operation.delegated else "  outside"
    return f"{operation.milliseconds:9.2f} ms {share:6.3f} {operation.count:5} x {operation.name}{where}"


if __name__ == "__main__":
    main()
