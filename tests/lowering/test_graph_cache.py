"""Known graphs: what makes a key, and that a kept graph is the graph."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from exporter.agreement import make_contract
from exporter.bundle.inspection import inspect_bundle
from exporter.bundle.reader import open_bundle
from exporter.checkpoints.architecture import DrafterConfig, HeadKind, TargetConfig
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.contract.names import (
    DECODE,
    DRAFT,
    DRAFT_ROUND,
    EMBED,
    EMBED_PER_LAYER,
    PREFILL_PREFIX,
    VERIFY,
    Dtype,
    Section,
)
from exporter.errors import LoweringError, OutputError
from exporter.litertlm.graphs import LitertGraphs
from exporter.litertlm.graphs import find_graphs as find_litert_graphs
from exporter.lowering.graph_archive import RECORD, GraphArchive, write_archive
from exporter.lowering.graph_cache import (
    LITERT,
    default_folder,
    find_graphs,
    find_shipped,
    keep,
    kept_path,
    unit_key,
)
from exporter.lowering.graph_check import is_litert_graph
from exporter.lowering.lower import lower
from exporter.lowering.units import LoweringRequest, Unit, litert_units
from exporter.options import ExportOptions
from exporter.pipeline import check_graphs
from exporter.progress import SilentReporter
from exporter.weights.parameters import parameter_specs
from quantize.builtin_recipes import RECIPES
from tests.bundles import TINY_DRAFTER, TINY_TARGET
from tests.command import run_without

MUTATIONS = 100

PAIR = ((parse_target, TINY_TARGET), (parse_drafter, TINY_DRAFTER))


def test_without_a_home_folder_another_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MTP_EXPORT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "~")  # as Python finds it where neither HOME nor the user is known
    with pytest.raises(OutputError, match="name a folder in MTP_EXPORT_CACHE"):
        default_folder()


@pytest.fixture(scope="module")
def tiny() -> LoweringRequest:
    return tiny_request()


def tiny_request() -> LoweringRequest:
    """What a default export of the tiny pair asks of the converter."""
    target, drafter = (parse(open_checkpoint(folder).config, "tiny") for parse, folder in PAIR)
    assert isinstance(target, TargetConfig)
    assert isinstance(drafter, DrafterConfig)
    contract = make_contract(target, drafter, ExportOptions(RECIPES["int8"])).as_lowered()
    return LoweringRequest(target, drafter, HeadKind.CENTROID, contract)


def units_of(request: LoweringRequest) -> list[Unit]:
    return list(litert_units(request.contract))


@pytest.mark.slow
def test_the_shipped_graphs_are_what_lowering_gives(tiny: LoweringRequest) -> None:
    """Byte for byte: it makes no difference whether a graph was lowered or shipped.

    Of the tiny pair, one of each kind: decode is verify of one token, and a draft round has the drafter's
    step in it; `scripts/ship_graphs.py --check` compares all, and E2B and E4B. Some are lowered for another
    export, which must make no difference either.
    """
    assert tiny.drafter is not None
    shipped = find_shipped(tiny, units_of(tiny))
    assert shipped is not None, "stale: run scripts/ship_graphs.py"
    specs = parameter_specs(tiny.target, tiny.drafter, HeadKind.CENTROID)
    check_graphs(LitertGraphs(shipped), specs)
    by_name = {unit.signature: unit for unit in shipped.by_unit}
    shared = [by_name[name] for name in (EMBED, EMBED_PER_LAYER, f"{PREFILL_PREFIX}128")]
    other = dataclasses.replace(
        tiny.contract, draft_length=5, prefill_lengths=(128, 256, 1024), batch=2
    )
    lowered = lower(dataclasses.replace(tiny, head=HeadKind.FULL, contract=other), shared)
    lowered |= lower(tiny, [by_name[VERIFY], by_name[DRAFT_ROUND]])
    assert lowered == {unit: shipped.by_unit[unit] for unit in lowered}


def test_what_changes_a_graph_changes_its_key(request_: LoweringRequest) -> None:
    contract = request_.contract
    longer = dataclasses.replace(contract, cache_length=256)
    wider = dataclasses.replace(request_.target, per_layer_width=64)
    decode = Unit(Section.PREFILL_DECODE, DECODE)
    step = Unit(Section.MTP_DRAFTER, DRAFT)
    known = {unit: unit_key(request_, unit) for unit in (decode, step)}
    changed = {
        "cache": (dataclasses.replace(request_, contract=longer), {decode, step}),
        "target": (dataclasses.replace(request_, target=wider), {decode}),
        "head": (dataclasses.replace(request_, head=HeadKind.FULL), {step}),
        "type": (
            dataclasses.replace(
                request_, contract=dataclasses.replace(contract, kv_dtype=Dtype.INT8)
            ),
            {decode, step},
        ),
        "draft length": (
            dataclasses.replace(request_, contract=dataclasses.replace(contract, draft_length=5)),
            set(),
        ),
        "nothing": (dataclasses.replace(request_), set()),
    }
    for what, (request, units) in changed.items():
        assert {unit for unit in known if unit_key(request, unit) != known[unit]} == units, what


def test_an_option_costs_the_graphs_it_changes(tiny: LoweringRequest) -> None:
    """Shipped graphs serve other options, too; none at all have to be lowered without a drafter."""
    contract = dataclasses.replace(tiny.contract, drafter_donors=(), draft_length=0)
    plain = LoweringRequest(tiny.target, None, HeadKind.FULL, contract)
    assert find_shipped(plain, units_of(plain)) is not None
    longer = dataclasses.replace(tiny, contract=dataclasses.replace(tiny.contract, draft_length=5))
    shipped = {unit_key(tiny, unit) for unit in units_of(tiny)}
    lowered = [u.signature for u in units_of(longer) if unit_key(longer, u) not in shipped]
    assert lowered == [VERIFY, DRAFT_ROUND]


class Made:
    """Makes graphs of nothing and remembers which."""

    def __init__(self) -> None:
        self.units: list[Unit] = []

    def __call__(self, request: LoweringRequest, units: Sequence[Unit]) -> dict[Unit, bytes]:
        self.units += units
        return {unit: unit.file_name.encode() for unit in units}

    def is_graph(self, unit: Unit, graph: bytes) -> bool:
        return graph == unit.file_name.encode()


def test_a_damaged_archive_is_lowered_again(
    request_: LoweringRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTP_EXPORT_CACHE", str(tmp_path))
    wider = dataclasses.replace(
        request_.target, per_layer_width=64
    )  # none of its graphs is shipped
    request, units = dataclasses.replace(request_, target=wider), units_of(request_)
    made = Made()
    kind = dataclasses.replace(LITERT, make=made, is_graph=made.is_graph)

    def find(*, fresh: bool = False) -> list[Unit]:
        made.units.clear()
        found = find_graphs(request, units, kind, SilentReporter(), fresh=fresh)
        assert found.by_unit == {unit: unit.file_name.encode() for unit in units}
        return made.units

    assert find() == units
    assert find() == []
    for index, damage in enumerate((without_sums, another_entry, another_graph, no_archive)):
        key = unit_key(request, units[index])
        damage(kept_path(tmp_path, key, LITERT.tools()), key)
        assert find() == [units[index]]
        assert find() == []
    assert find(fresh=True) == units


def no_archive(path: Path, key: str) -> None:
    path.write_bytes(b"PK, damaged")


def without_sums(path: Path, key: str) -> None:
    """As archives were before they had checksums."""
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(RECORD, json.dumps(dict(LITERT.tools())))
        packed.writestr(key, b"some graph")


def another_entry(path: Path, key: str) -> None:
    """The archive is sound, its entry has not the checksum in the record."""
    with zipfile.ZipFile(path) as packed:
        record = packed.read(RECORD)
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(RECORD, record)
        packed.writestr(key, b"another graph")


def another_graph(path: Path, key: str) -> None:
    """What was kept was no graph, or that of another signature."""
    write_archive(path, GraphArchive(LITERT.tools(), {key: b"another graph"}))


@pytest.mark.slow
def test_a_graph_of_another_contract_is_refused(
    tiny: LoweringRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept in the place of one for longer drafts: nothing is made with it, and what helps is said."""
    known = find_graphs(tiny, units_of(tiny), LITERT, SilentReporter())
    longer = dataclasses.replace(tiny, contract=dataclasses.replace(tiny.contract, draft_length=5))
    monkeypatch.setenv("MTP_EXPORT_CACHE", str(tmp_path))
    for unit in units_of(longer):
        key = unit_key(longer, unit)
        archive = GraphArchive(LITERT.tools(), {key: known.by_unit[unit]})
        keep(kept_path(tmp_path, key, LITERT.tools()), archive)
    with pytest.raises(LoweringError, match="--fresh-graphs makes them anew") as refused:
        find_litert_graphs(longer, SilentReporter(), fresh=False)
    assert "verify: input input_pos is int32 [4], expected int32 [6]" in str(refused.value)


def test_what_is_a_graph(bundle_graph: bytes) -> None:
    unit = Unit(Section.EMBEDDER, EMBED)
    assert is_litert_graph(unit, bundle_graph)
    assert not is_litert_graph(Unit(Section.EMBEDDER, DECODE), bundle_graph)
    dice = np.random.default_rng(0)
    for _ in range(MUTATIONS):  # none may raise
        changed = bytearray(bundle_graph)
        for place in dice.integers(len(changed), size=4):
            changed[place] = dice.integers(256)
        is_litert_graph(unit, bytes(changed))


@pytest.fixture(scope="module")
def bundle_graph(tiny_bundles: dict[str, Path]) -> bytes:
    opened = open_bundle(tiny_bundles["int8"])
    section = opened.model(Section.EMBEDDER)
    assert section is not None
    return opened.read(section)


@pytest.mark.parametrize("fails", [False, True])
def test_a_cache_for_several_users(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept has the mode of the user's other files; what cannot be kept leaves nothing."""

    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    if fails:
        monkeypatch.setattr(Path, "write_bytes", full)
    archive = GraphArchive({"torch": "0"}, {"key": b"graph"})
    path = kept_path(tmp_path, "key", archive.tools)
    before = os.umask(0o027)
    try:
        keep(path, archive)
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == ([] if fails else [path])
    assert fails or stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.slow
def test_a_shipped_graph_needs_neither_torch_nor_the_converter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small install exports the stock architectures: nothing even tries to import these."""
    output = tmp_path / "x.litertlm"
    monkeypatch.setenv("MTP_EXPORT_CACHE", str(tmp_path / "empty"))
    missing = ("torch", "litert_torch", "transformers", "jax")
    done = run_without(missing, "export", TINY_TARGET, TINY_DRAFTER, "-o", output)
    assert done.returncode == 0, done.stderr
    assert "using known graphs" in done.stderr
    assert inspect_bundle(output).problems == ()
