"""What a call costs by how many slots are filled, and by how many there could be.

    python scripts/filled_cost.py before.litertlm after.litertlm --filled 500 --filled 30000

Every bundle is opened with every number of slots, all in one process, and they take turns call by call
(``speed.clocks``): CPU time, one thread. Ratios are to the first bundle with the first number of slots.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import numpy as np
from speed.clocks import alternate, load
from speed.litert import LitertFile, PreparedCall

from exporter.bundle.reader import open_bundle
from exporter.bundle.stored_contract import stored_contract
from exporter.contract.names import DRAFT, INPUT_POS, MASK, Section
from runtime_py.litert.hardware import cpu_options
from runtime_py.litert.resized_graph import Resizing


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--signature", default="decode", show_default=True)
@click.option("--slots", multiple=True, type=int, default=(4096, 32000), show_default=True)
@click.option("--filled", multiple=True, type=int, default=(500,), show_default=True)
@click.option("--calls", default=15, show_default=True, help="Calls of each that are counted.")
def main(
    files: tuple[Path, ...],
    signature: str,
    slots: tuple[int, ...],
    filled: tuple[int, ...],
    calls: int,
) -> None:
    """Time SIGNATURE of bundles with a placeholder for the cache length."""
    opened = {
        f"{file.stem} {count}": _opened(file, signature, count) for file in files for count in slots
    }
    for count in filled:
        sides = {name: call for name, call in opened.items() if _fill(call, count)}
        costs = alternate(sides, calls)
        first = next(iter(costs.values()))
        for name, cost in costs.items():
            line = f"{cost.cpu * 1000:9.2f} ms {cost.cpu / first.cpu:7.3f}"
            click.echo(f"{signature}, {count:6} filled {line}  {name}")
    click.echo(load())


def _opened(file: Path, signature: str, slots: int) -> PreparedCall:
    bundle = open_bundle(file)
    manifest = bundle.manifest()
    entry = bundle.model(Section.MTP_DRAFTER if signature == DRAFT else Section.PREFILL_DECODE)
    placeholder = None
    if manifest is not None:
        placeholder = stored_contract(file, manifest).placeholder
    if entry is None or placeholder is None:
        raise click.ClickException(f"{file} has no such section, or no placeholder in its graphs")
    edit = entry.graph_bytes, partial(Resizing.apply, Resizing(placeholder, slots))
    opened = LitertFile(
        file, cpu_options(threads=1), begin=entry.begin, nbytes=entry.nbytes, edit=edit
    )
    return opened.call(signature)


def _fill(call: PreparedCall, filled: int) -> bool:
    """Let the last token of the call see ``filled`` slots; False if there are fewer."""
    mask = call.inputs[MASK].values
    tokens, slots = mask.shape[2:]
    if not tokens <= filled <= slots:
        return False
    newest = np.arange(filled - tokens, filled)
    mask[...] = np.arange(slots) <= newest[:, None]
    positions = call.inputs[INPUT_POS].values
    positions[...] = newest[: positions.size]
    return True


if __name__ == "__main__":
    main()
