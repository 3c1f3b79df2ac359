"""Known graphs: what makes a key, and that a kept graph is the graph."""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.agreement import make_contract
from exporter.bundle.inspection import inspect_bundle
from exporter.checkpoints.architecture import DrafterConfig, HeadKind, TargetConfig
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.litertlm.format import LitertGraphs
from exporter.lowering.graph_cache import SHIPPED, Graphs, find, graph_key, keep, kept_path, read
from exporter.lowering.lower import Lowered, LoweringRequest, lower
from exporter.options import ExportOptions
from exporter.pipeline import check_graphs
from exporter.version import graph_tool_versions
from exporter.weights.parameters import parameter_specs
from quantize.builtin_recipes import RECIPES
from tests.bundles import TINY_DRAFTER, TINY_TARGET

PAIR = ((parse_target, TINY_TARGET), (parse_drafter, TINY_DRAFTER))


@pytest.mark.slow
def test_the_shipped_graphs_are_what_lowering_gives() -> None:
    """Byte for byte: it makes no difference whether a graph was lowered or shipped.

    Of the tiny pair; `scripts/ship_graphs.py --check` compares E2B and E4B too.
    """
    target, drafter = (parse(open_checkpoint(folder).config, "tiny") for parse, folder in PAIR)
    assert isinstance(target, TargetConfig)
    assert isinstance(drafter, DrafterConfig)
    contract = make_contract(target, drafter, ExportOptions(RECIPES["int8"])).as_lowered()
    request = LoweringRequest(target, drafter, HeadKind.CENTROID, contract)
    shipped = read(SHIPPED / f"{graph_key(request)}.zip", graph_key(request))
    assert shipped is not None, "stale: run scripts/ship_graphs.py"
    assert lower(request) == shipped.lowered
    found = LitertGraphs(shipped).weight_specs()
    check_graphs(found, parameter_specs(target, drafter, HeadKind.CENTROID))


def test_what_changes_a_graph_changes_its_key(request_: LoweringRequest) -> None:
    longer = dataclasses.replace(request_.contract, cache_length=256)
    wider = dataclasses.replace(request_.target, per_layer_width=64)
    keys = {
        graph_key(request)
        for request in (
            request_,
            dataclasses.replace(request_, contract=longer),
            dataclasses.replace(request_, target=wider),
            dataclasses.replace(request_, head=HeadKind.FULL),
        )
    }
    assert len(keys) == 4
    assert graph_key(request_) == graph_key(dataclasses.replace(request_))


def test_a_damaged_archive_is_lowered_again(request_: LoweringRequest, tmp_path: Path) -> None:
    graphs = Graphs(Lowered({}), graph_key(request_), {"torch": "0"})
    assert find(request_, tmp_path) is None
    path = kept_path(tmp_path, graphs.key, graph_tool_versions())
    keep(path, graphs.archive())
    assert find(request_, tmp_path) == graphs
    path.write_bytes(b"PK but not an archive")
    assert find(request_, tmp_path) is None


@pytest.mark.parametrize("fails", [False, True])
def test_a_cache_for_several_users(
    fails: bool, request_: LoweringRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept has the mode of the user's other files; what cannot be kept leaves nothing."""

    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    if fails:
        monkeypatch.setattr(Path, "write_bytes", full)
    graphs = Graphs(Lowered({}), graph_key(request_), {"torch": "0"})
    path = kept_path(tmp_path, graphs.key, graphs.tools)
    before = os.umask(0o027)
    try:
        keep(path, graphs.archive())
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == ([] if fails else [path])
    assert fails or stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.slow
def test_a_shipped_graph_needs_neither_torch_nor_the_converter(tmp_path: Path) -> None:
    """A small install exports the stock architectures: nothing even tries to import these."""
    output = tmp_path / "x.litertlm"
    code = (
        "import sys\n"
        "for name in ('torch', 'litert_torch', 'transformers', 'jax'): sys.modules[name] = None\n"
        f"sys.argv = ['mtp-export', 'export', {str(TINY_TARGET)!r}, {str(TINY_DRAFTER)!r},\n"
        f"            '-o', {str(output)!r}]\n"
        "from exporter.cli.main import main\n"
        "main()"
    )
    environment = {**os.environ, "MTP_EXPORT_CACHE": str(tmp_path / "empty")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "using known graphs" in done.stderr
    assert inspect_bundle(output).problems == ()
