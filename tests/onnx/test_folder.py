"""The folder: whole or not there, the same every time, and sound by ONNX's own checks."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, shape_inference

from exporter.bundle.onnx_folder import FILES, open_folder
from exporter.bundle.onnx_names import SLOTS, as_onnx
from exporter.contract.names import Dtype
from exporter.contract.text import Contract
from exporter.errors import BundleError, OutputError
from exporter.onnx.format import check_destination
from exporter.path_kind import MANIFEST
from tests.bundles import TINY_DRAFTER, TINY_TARGET
from tests.export.command import Tensors, edit_tensors, refused, run, start
from tests.onnx.conftest import RECIPES
from tests.onnx.reading import models

STOPS = 10

TYPES = {
    Dtype.FLOAT32: TensorProto.FLOAT,
    Dtype.INT32: TensorProto.INT32,
    Dtype.BOOL: TensorProto.BOOL,
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_checker_and_strict_shape_inference_pass(recipe: str, folders: dict[str, Path]) -> None:
    """On files, so that the checker looks at the external data as well."""
    for path in folders[recipe].glob("*.onnx"):
        onnx.checker.check_model(str(path), full_check=True)
        model = onnx.load(str(path))
        shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def test_the_models_have_the_signatures_of_the_contract(folders: dict[str, Path]) -> None:
    """The caches' names differ on the way out, and their length has a name."""
    agreed = open_folder(folders["int4"]).contract()
    found = models(folders["int4"])
    sections = agreed.as_lowered().section_signatures().values()
    signatures = {name: spec for specs in sections for name, spec in specs.items()}
    assert set(found) == set(signatures)
    for name, spec in signatures.items():
        wanted, graph = as_onnx(spec), found[name].graph
        for entries, specs in ((graph.input, wanted.inputs), (graph.output, wanted.outputs)):
            assert {e.name: shape_and_type(e, agreed) for e in entries} == {
                n: (s.shape, TYPES[s.dtype]) for n, s in specs.items()
            }


def shape_and_type(entry: onnx.ValueInfoProto, agreed: Contract) -> tuple[tuple[int, ...], int]:
    """A dimension with the caches' name counts as what it was traced with."""
    tensor = entry.type.tensor_type
    assert agreed.placeholder is not None
    shape = tuple(
        agreed.placeholder if dim.dim_param == SLOTS else dim.dim_value for dim in tensor.shape.dim
    )
    return shape, tensor.elem_type


def test_the_manifest_is_a_bundles(folders: dict[str, Path]) -> None:
    folder = folders["int8"]
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["recipe"]["name"] == "int8"
    assert manifest["sources"]["target"]["source"] == "target"
    assert manifest["graphs"]["onnx_opset"] == 20
    assert set(manifest[FILES]) == {path.name for path in folder.iterdir()} - {MANIFEST}
    assert str(Path.home()) not in json.dumps(manifest)
    tokenizer = (folder / "tokenizer.json").read_bytes()
    assert tokenizer == (TINY_TARGET / "tokenizer.json").read_bytes()


def export(output: Path, *more: str | Path) -> subprocess.CompletedProcess[str]:
    return run("-o", output, "--format", "onnx", "--recipe", "int8", *more)


def test_equal_input_gives_equal_bytes(folders: dict[str, Path], tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert export(again).returncode == 0
    first = {path.name: path.read_bytes() for path in folders["int8"].iterdir()}
    assert {path.name: path.read_bytes() for path in again.iterdir()} == first
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


@pytest.mark.slow
def test_a_folder_is_replaced_only_when_forced(tmp_path: Path) -> None:
    output = tmp_path / "model"
    assert export(output).returncode == 0
    (output / "decode.onnx").write_bytes(b"old")
    refused(export(output), "exists already; give --force")
    assert (output / "decode.onnx").read_bytes() == b"old"
    assert export(output, "--force").returncode == 0
    open_folder(output).check_files(weights=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "diary.txt").write_text("dear diary")
    expected = "expected a folder with a manifest.json to replace, or nothing"
    with pytest.raises(OutputError, match=expected):
        check_destination(home, force=True)  # the command takes it for the folder to write in
    assert (home / "diary.txt").read_text() == "dear diary"
    (tmp_path / "file").write_text("text")
    refused(export(tmp_path / "file", "--force"), "expected a folder with a manifest.json")


@pytest.mark.slow
def test_nothing_is_left_of_an_export_that_fails(tmp_path: Path) -> None:
    """A weight is found to be damaged only while it is being written."""
    drafter, output = tmp_path / "drafter", tmp_path / "out"
    shutil.copytree(TINY_DRAFTER, drafter)
    output.mkdir()

    def spoil(tensors: Tensors) -> None:
        tensors["model.norm.weight"][0] = float("nan")

    edit_tensors(drafter, spoil)
    refused(run("-o", output / "m", "--format", "onnx", drafter=drafter), "model.norm.weight")
    assert list(output.iterdir()) == []


@pytest.mark.slow
@pytest.mark.alone
def test_an_interrupt_leaves_the_folder_that_was_there_or_the_new_one(tmp_path: Path) -> None:
    output = tmp_path / "m"
    for _ in range(2):  # the first may have to make the graphs
        started = time.monotonic()
        first = start(output, "--force", "--format", "onnx")
        assert (first.communicate(), first.returncode)[1] == 0
    whole, moments = time.monotonic() - started, np.random.default_rng(0)
    for index in range(STOPS):
        process = start(output, "--force", "--format", "onnx")
        time.sleep(moments.uniform(0.4, 1.0) * whole)
        process.send_signal(signal.SIGINT if index % 2 else signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode in (0, 130, -signal.SIGINT, -signal.SIGTERM), said
        open_folder(output).check_files(weights=True)
        assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_damage_is_found(folders: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folders["int8"].iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    content = bytearray((copy / "target.data").read_bytes())
    content[1000] ^= 1
    (copy / "target.data").write_bytes(content)
    folder = open_folder(copy)
    folder.check_files(weights=False)
    with pytest.raises(BundleError, match=r"export the folder again: target\.data is missing or"):
        folder.check_files(weights=True)
    (copy / "verify.onnx").unlink()
    with pytest.raises(BundleError, match=r"verify\.onnx"):
        folder.check_files(weights=False)
    manifest = json.loads((copy / MANIFEST).read_text())
    for damaged in ({}, {**manifest, FILES: None}):
        (copy / MANIFEST).write_text(json.dumps(damaged))
        with pytest.raises(BundleError, match="expected a manifest with"):
            open_folder(copy)
