"""Lower the graphs that are part of the package: E2B, E4B and the tiny pair, with default options.

    python scripts/ship_graphs.py            # lower them and replace exporter/lowering/graphs/
    python scripts/ship_graphs.py --check    # lower them and compare, byte by byte

With a shipped graph an export needs neither torch nor litert-torch and no minute of lowering. Run it
after every change to the code that makes graphs (`exporter.lowering.sources`): the key of a graph covers
it, so a stale archive is never used, only useless.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click
from planted_pair.sizes import SIZES

from exporter.agreement import choose_head, make_contract
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.lowering.graph_archive import GraphArchive, read_archive, write_archive
from exporter.lowering.graph_cache import SHIPPED, unit_key
from exporter.lowering.lower import lower
from exporter.lowering.units import LoweringRequest, litert_units
from exporter.options import ExportOptions
from exporter.version import graph_tool_versions
from quantize.builtin_recipes import RECIPES

TINY = Path(__file__).parent.parent / "checkpoints" / "tiny"


def requests() -> dict[str, LoweringRequest]:
    """What a default export of each stock architecture asks of the converter."""
    configs = {
        name: (SIZES[name].target_config(), SIZES[name].drafter_config()) for name in ("e2b", "e4b")
    }
    configs["tiny"] = tuple(
        json.loads((TINY / role / "config.json").read_text()) for role in ("target", "drafter")
    )
    found = {}
    for name, (target_json, drafter_json) in configs.items():
        target, drafter = parse_target(target_json, name), parse_drafter(drafter_json, name)
        options = ExportOptions(RECIPES["float32"])
        contract = make_contract(target, drafter, options)
        head = choose_head(drafter, options)
        found[name] = LoweringRequest(target, drafter, head, contract.as_lowered())
    return found


@click.command()
@click.option("--check", is_flag=True, help="Compare with what is shipped instead of replacing it.")
@click.argument("names", nargs=-1)
def main(check: bool, names: tuple[str, ...]) -> None:
    """Lower the graphs of NAMES (default: all of e2b, e4b, tiny)."""
    stale = []
    for name, request in requests().items():
        if names and name not in names:
            continue
        units = list(litert_units(request.contract))
        started = time.monotonic()
        graphs = lower(request, units)
        entries = {unit_key(request, unit): graphs[unit] for unit in units}
        made, archive = GraphArchive(graph_tool_versions(), entries), SHIPPED / f"{name}.zip"
        if check:
            same = read_archive(archive) == made
            stale += [] if same else [name]
            said = "as shipped" if same else "NOT as shipped"
        else:
            SHIPPED.mkdir(exist_ok=True)
            write_archive(archive, made)
            said = f"{archive.stat().st_size:,} bytes"
        click.echo(f"{name}: {len(units)} graphs, {time.monotonic() - started:.0f} s, {said}")
    if stale:
        sys.exit(f"stale: {', '.join(stale)}; run scripts/ship_graphs.py")


if __name__ == "__main__":
    main()
