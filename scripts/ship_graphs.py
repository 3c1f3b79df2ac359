"""Lower the graphs that are part of the package, by default options: E2B, E4B, their towers, the tiny pair.

    python scripts/ship_graphs.py            # lower them and replace exporter/lowering/graphs/
    python scripts/ship_graphs.py --check    # lower them and compare, byte by byte
    python scripts/ship_graphs.py --kept build/graphs    # those of the tests instead: see below

With a shipped graph an export needs neither torch nor litert-torch and no minute of lowering. Run it
after every change to the code that makes graphs (`exporter.lowering.sources`): the key of a graph covers
it, so a stale archive is never used, only useless.

Tests lower graphs of their own. So that a new machine need not, what a run of all tests has kept goes into
tests/graphs.zip, by the names under which it was kept; those, too, cover code and tools. To make it anew:

    MTP_EXPORT_CACHE=build/graphs scripts/check.sh && python scripts/ship_graphs.py --kept build/graphs
"""

from __future__ import annotations

import json
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import click
from planted_pair.sizes import SIZES

from exporter.agreement import choose_head, make_contract
from exporter.checkpoints.configs.audio import parse_audio
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.checkpoints.configs.sound import DEFAULT_SECONDS
from exporter.checkpoints.configs.vision import parse_vision
from exporter.litertlm.tower_graphs import graph_kind
from exporter.lowering.audio import AudioRequest
from exporter.lowering.graph_archive import EPOCH, GraphArchive, read_archive, write_archive
from exporter.lowering.graph_cache import LITERT, SHIPPED, GraphKind, unit_key
from exporter.lowering.tower import TowerRequest
from exporter.lowering.units import LoweringRequest, Unit, litert_units
from exporter.lowering.vision import VisionRequest
from exporter.options import ExportOptions
from exporter.plan.audio import audio_contract
from exporter.plan.vision import vision_contract
from exporter.version import graph_tool_versions
from quantize.builtin_recipes import RECIPES

ROOT = Path(__file__).parent.parent
TINY, TEST_GRAPHS = ROOT / "checkpoints" / "tiny", ROOT / "tests" / "graphs.zip"


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


def tower_requests(text: Mapping[str, LoweringRequest]) -> dict[str, TowerRequest]:
    """What exports of E2B and E4B ask for besides, to take pictures and sound: their towers are the same."""
    vision = parse_vision({"vision_config": {"use_clipped_linears": True}}, "e2b and e4b")
    audio = parse_audio({"audio_config": {}}, "e2b and e4b")
    assert vision is not None
    assert audio is not None
    found: dict[str, TowerRequest] = {}
    for name in ("e2b", "e4b"):
        width = text[name].target.text.hidden_size
        found[f"{name}-vision"] = VisionRequest(vision, vision_contract(vision, width))
        found[f"{name}-audio"] = AudioRequest(audio, audio_contract(audio, width, DEFAULT_SECONDS))
    return found


Job = tuple[GraphKind, LoweringRequest | TowerRequest, list[Unit]]


def jobs() -> dict[str, Job]:
    """Every archive: how its graphs are made, and which they are."""
    text = requests()
    found: dict[str, Job] = {
        name: (LITERT, request, list(litert_units(request.contract)))
        for name, request in text.items()
    }
    for name, request in tower_requests(text).items():
        found[name] = graph_kind(request), request, request.units()
    return found


def pack(folder: Path, archive: Path) -> None:
    """Put the graphs in a folder into an archive; equal graphs give an equal archive."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".zip", ".tflite"))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in files:
            entry = zipfile.ZipInfo(path.name, EPOCH)
            packed.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    click.echo(f"{archive}: {len(files)} graphs, {archive.stat().st_size:,} bytes")


@click.command()
@click.option("--check", is_flag=True, help="Compare with what is shipped instead of replacing it.")
@click.option(
    "--kept",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Put what a run of all tests kept in this folder into tests/graphs.zip, and do nothing else.",
)
@click.argument("names", nargs=-1)
def main(check: bool, kept: Path | None, names: tuple[str, ...]) -> None:
    """Lower the graphs of NAMES (default: all: e2b, e4b, tiny, e2b-vision, e2b-audio and so on)."""
    if kept is not None:
        pack(kept, TEST_GRAPHS)
        return
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
