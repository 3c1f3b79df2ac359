"""What an ONNX folder holds, and whether its models keep the contract.

Signatures are shown with the contract's names: a cache that comes out as ``new_kv_cache_k_0`` is
``kv_cache_k_0``. Weights are not touched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from exporter.bundle.graph_reader import ConstantInfo, SignatureInfo, TensorInfo
from exporter.bundle.inspection import WeightGroup, group_weights
from exporter.bundle.integrity import Checksums
from exporter.bundle.onnx_folder import FILES, OnnxFolder, open_folder
from exporter.bundle.onnx_names import contract_name
from exporter.bundle.signature_check import broken_promises
from exporter.contract.text import Contract
from exporter.errors import BundleError
from exporter.files.output import size_of
from exporter.onnx.bind import SCALES
from exporter.onnx.graph_builder import ELEMENT_TYPES

DTYPES = {number: name for name, number in ELEMENT_TYPES.items()}


@dataclass(frozen=True)
class OnnxModel:
    """One model of the folder."""

    nbytes: int
    signature: SignatureInfo


@dataclass(frozen=True)
class InspectedWeights:
    """One file of weights, which several models share."""

    nbytes: int
    weights: tuple[WeightGroup, ...]


@dataclass(frozen=True)
class OnnxInspection:
    """Everything ``inspect`` shows of a folder."""

    folder: OnnxFolder
    nbytes: int
    opsets: dict[str, int]
    """Versions of the operator sets, by domain."""
    models: dict[str, OnnxModel]
    weights: dict[str, InspectedWeights]
    contract: Contract
    problems: tuple[str, ...]
    """How the models break the contract; empty if they keep it."""

    def checksums(self, *, weights: bool) -> Checksums:
        """Compare the folder's files with their checksums, weights only if asked to."""
        damage = self.folder.damage(weights=weights)
        return Checksums(weights, len(self.folder.content[FILES]), tuple(damage))


def inspect_folder(path: Path) -> OnnxInspection:
    """Read a folder's structure.

    Raises:
        BundleError: Not a folder of ours, or damaged.
    """
    folder = open_folder(path)
    agreed = folder.contract()
    protos = {
        name: load(folder.model(name))
        for specs in agreed.section_signatures().values()
        for name in specs
        if folder.model(name).is_file()
    }
    try:
        models, opsets, weights = _parsed(folder, protos)
    except Exception as error:  # protobuf hands out whatever a file has: texts that are bytes, too
        raise BundleError(
            f"{path}: the models are damaged ({type(error).__name__}: {error}); export the folder again"
        ) from error
    found = {
        section.value: {name: models[name].signature for name in specs if name in models}
        for section, specs in agreed.section_signatures().items()
    }
    problems = tuple(broken_promises(agreed, found))
    return OnnxInspection(folder, size_of(path), opsets, models, weights, agreed, problems)


def _parsed(
    folder: OnnxFolder, protos: Mapping[str, onnx.ModelProto]
) -> tuple[dict[str, OnnxModel], dict[str, int], dict[str, InspectedWeights]]:
    """Models by name, operator sets by domain, and files of weights by name."""
    models = {
        name: OnnxModel(folder.model(name).stat().st_size, _signature(proto.graph))
        for name, proto in protos.items()
    }
    opsets = {e.domain or "ai.onnx": e.version for p in protos.values() for e in p.opset_import}
    weights = {
        name: InspectedWeights(
            (folder.path / name).stat().st_size, group_weights(list(constants.values()))
        )
        for name, constants in _weights([proto.graph for proto in protos.values()]).items()
        if Path(name).name == name and (folder.path / name).is_file()
    }
    return models, opsets, weights


def load(file: Path) -> onnx.ModelProto:
    """A model without its external data.

    Raises:
        BundleError: It is none.
    """
    try:
        return onnx.load(str(file), load_external_data=False)
    except (DecodeError, OSError) as error:
        raise BundleError(
            f"{file}: expected an ONNX model, found something else ({error})"
        ) from error


def _signature(graph: onnx.GraphProto) -> SignatureInfo:
    inputs = {entry.name: _tensor(entry) for entry in graph.input}
    outputs = {contract_name(entry.name, inputs): _tensor(entry) for entry in graph.output}
    return SignatureInfo(inputs, outputs)


def _tensor(entry: onnx.ValueInfoProto) -> TensorInfo:
    """Type and shape; -1 for a dimension without a number."""
    tensor = entry.type.tensor_type
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    return TensorInfo(DTYPES.get(tensor.elem_type, f"type {tensor.elem_type}"), shape)


def _weights(graphs: Iterable[onnx.GraphProto]) -> dict[str, dict[str, ConstantInfo]]:
    """By file and name: what the graphs have in external data."""
    files: dict[str, dict[str, ConstantInfo]] = {}
    for graph in graphs:
        bits = _bits_of_codes(graph)
        scales = {t.name: math.prod(t.dims) for t in graph.initializer if t.name.endswith(SCALES)}
        for tensor in graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL and tensor.name not in scales:
                where = {entry.key: entry.value for entry in tensor.external_data}
                nbytes, dtype = int(where["length"]), DTYPES[tensor.data_type]
                shape = tuple(tensor.dims)
                if (width := bits.get(tensor.name)) is not None:
                    dtype, shape = f"int{width}", (nbytes * 8 // width,)
                count = scales.get(tensor.name + SCALES, 0)
                block = math.prod(shape) // count if count else None
                files.setdefault(where["location"], {})[tensor.name] = ConstantInfo(
                    tensor.name, dtype, shape, nbytes, count, block, inside=False
                )
    return files


def _bits_of_codes(graph: onnx.GraphProto) -> dict[str, int]:
    """Bits an element of the quantised weights, which are held as bytes."""
    return {
        name: attribute.i
        for node in graph.node
        for attribute in node.attribute
        if attribute.name == "bits"
        for name in node.input
        if not name.endswith(SCALES)
    }
