"""Bundles and ONNX folders: everything that is read of them before native code runs a graph."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path

import onnx
from google.protobuf import json_format
from litert_lm_builder.runtime.proto import llm_metadata_pb2
from onnx import TensorProto, helper

from exporter.bundle.inspection import inspect_bundle
from exporter.bundle.integrity import check_sections
from exporter.bundle.onnx_folder import open_folder
from exporter.bundle.reader import Bundle, open_bundle
from exporter.bundle.signature_check import find_signatures, wanted_sections
from exporter.bundle.stored_contract import require_drafter, stored_contract, with_cache_length
from exporter.cli.card_text import CardFacts, model_card
from exporter.cli.inspect import command as inspect_command
from exporter.contract.names import Section
from exporter.manifest import stored_recipe
from exporter.verify.rebuild import stored_manifest
from fuzzing.places import in_folder
from fuzzing.small_bundle import GRAPH, HEADER, MANIFEST, METADATA, TOKENIZER, small_bundle
from fuzzing.target import Case, Target
from runtime_py.opened_model import read_text_side


def _target(name: str, accelerator: str) -> Callable[[Path], Target]:
    def make(folder: Path) -> Target:
        whole = small_bundle(accelerator)
        parts = whole.parts()
        path = folder / "small.litertlm"

        def read(case: Case) -> None:
            path.write_bytes(whole.with_part(case.part, case.content))
            read_bundle(path, graphs=case.part in (GRAPH, HEADER))

        assert parts.keys() == {HEADER, METADATA, TOKENIZER, MANIFEST, GRAPH}
        return Target(name, parts, read)

    return make


bundles, gpu = _target("bundles", "cpu"), _target("gpu", "gpu")


def read_bundle(path: Path, *, graphs: bool) -> None:
    """Inspect a bundle, write its card, and open it as the reference runtime does, up to its graphs."""
    bundle = open_bundle(path)
    check_sections(bundle, weights=True)
    _inspect(path)
    inspection = inspect_bundle(path)
    if inspection.manifest is not None:
        model_card(CardFacts(inspection, None, None, None, None)).encode()
    stored_recipe(stored_manifest(path))
    read_text_side(bundle)
    if graphs:
        _find_graphs(bundle)


def _inspect(path: Path) -> None:
    """Run the command, both ways; what it prints must be text."""
    for more in ([], ["--json"]):
        printed = io.StringIO()
        with redirect_stdout(printed):
            inspect_command.main([str(path), *more], standalone_mode=False)
        printed.getvalue().encode()


def _find_graphs(bundle: Bundle) -> None:
    manifest = bundle.manifest()
    if manifest is None:
        return
    agreed = with_cache_length(bundle.path, stored_contract(bundle.path, manifest), None)
    require_drafter(bundle.path, agreed)
    wanted = wanted_sections(agreed.as_lowered(), drafting=True)
    find_signatures(bundle, {Section.EMBEDDER: wanted[Section.EMBEDDER]})


def onnx_folder(folder: Path) -> Target:
    """A folder whose models are small; the checksums in the manifest are made right for every input."""
    whole = small_bundle("cpu").parts()
    manifest = json.loads(whole[MANIFEST])
    message = llm_metadata_pb2.LlmMetadata.FromString(whole[METADATA])
    weights = bytes(64)
    files = {
        "llm_metadata.json": json_format.MessageToJson(message).encode(),
        "tokenizer.json": whole[TOKENIZER],
        "decode.onnx": _model(),
        "target.data": weights,
    }
    manifest["files"] = _sums(files)
    parts = files | {"manifest.json": json.dumps(manifest).encode()}
    read_part = in_folder(folder, parts, _read_folder)

    def read(case: Case) -> None:
        if case.part in files:
            forged = manifest | {"files": _sums(files | {case.part: case.content})}
            (folder / "manifest.json").write_text(json.dumps(forged), encoding="utf-8")
        read_part(case)

    return Target("onnx", {n: c for n, c in parts.items() if n != "target.data"}, read)


def _sums(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def _read_folder(where: Path) -> None:
    folder = open_folder(where)
    folder.check_files(weights=True)
    _inspect(where)
    with_cache_length(where, folder.contract(), None)
    read_text_side(folder)


def _model() -> bytes:
    """A model with a quantised weight in external data, as the exporter binds them."""
    codes = TensorProto(name="w", data_type=TensorProto.UINT8, dims=[4, 1, 16])
    codes.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "target.data"), ("offset", "0"), ("length", "64")):
        codes.external_data.add(key=key, value=value)
    scales = helper.make_tensor("w.scales", TensorProto.FLOAT, [4], [1.0] * 4)
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "w.scales"], ["y"], domain="com.microsoft", bits=4
    )
    taken, given = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])]
        for name, size in (("x", 32), ("y", 4))
    )
    graph = helper.make_graph([node], "decode", taken, given, initializer=[codes, scales])
    model: onnx.ModelProto = helper.make_model(graph)
    return bytes(model.SerializeToString())
