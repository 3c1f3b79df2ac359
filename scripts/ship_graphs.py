"""Lower the graphs that are part of the package: E2B, E4B, their tower and the tiny pair, by default options.

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
from collections.abc import Mapping
from pathlib import Path

import click
from planted_pair.sizes import SIZES

from exporter.agreement import choose_head, make_contract
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.checkpoints.configs.vision import parse_vision
from exporter.litertlm.vision_graphs import VISION
from exporter.lowering.graph_archive import GraphArchive, read_archive, write_archive
from exporter.lowering.graph_cache import LITERT, SHIPPED, GraphKind, unit_key
from exporter.lowering.units import LoweringRequest, Unit, litert_units
from exporter.lowering.vision import VisionRequest
from exporter.options import ExportOptions
from exporter.version import graph_tool_versions
from exporter.vision_plan import vision_contract
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


def vision_requests(text: Mapping[str, LoweringRequest]) -> dict[str, VisionRequest]:
    """What exports of E2B and E4B ask for besides, to take pictures: their towers are one and the same."""
    tower = parse_vision({"vision_config": {"use_clipped_linears": True}}, "e2b and e4b")
    assert tower is not None
    return {
        f"{name}-vision": VisionRequest(
            tower, vision_contract(tower, text[name].target.text.hidden_size)
        )
        for name in ("e2b", "e4b")
    }


Job = tuple[GraphKind, LoweringRequest | VisionRequest, list[Unit]]


def jobs() -> dict[str, Job]:
    """Every archive: how its graphs are made, and which they are."""
    text = requests()
    found: dict[str, Job] = {
        name: (LITERT, request, list(litert_units(request.contract)))
        for name, request in text.items()
    }
    for name, request in vision_requests(text).items():
        found[name] = VISION, request, request.units()
    return found


@click.command()
@click.option("--check", is_flag=True, help="Compare with what is shipped instead of replacing it.")
@click.argument("names", nargs=-1)
def main(check: bool, names: tuple[str, ...]) -> None:
    """Lower the graphs of NAMES (default: all of e2b, e4b, tiny, e2b-vision, e4b-vision)."""
    stale = []
    for name, (kind, request, units) in jobs().items():
        if names and name not in names:
            continue
        started = time.monotonic()
        graphs = kind.make(request, units)
        entries = {unit_key(request, unit, kind): graphs[unit] for unit in units}
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
