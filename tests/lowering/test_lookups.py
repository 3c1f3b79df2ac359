"""A lookup of many int8 rows is rewritten, and gives the same floats as LiteRT's own kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from numpy.typing import NDArray

from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import WEIGHT_PREFIX, TensorSpec
from exporter.litertlm.bind import bind
from exporter.litertlm.lookups import MANY_ROWS
from exporter.lowering.merge import FILE_IDENTIFIER
from exporter.weights.matching import Weight
from quantize.arrays import dequantize_rows, quantize_rows
from quantize.builtin_recipes import RECIPES

ROWS, WIDTH = 300, 24
TABLE, IDS, FOUND = "table", "ids", "found"


def lookup_graph(count: int) -> bytes:
    """A graph as lowering leaves it: one EMBEDDING_LOOKUP of ``count`` rows of a weight."""

    def tensor(name: str, shape: tuple[int, ...], kind: int) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.type = name.encode(), np.array(shape, np.int32), kind
        made.hasRank = True
        return made

    def entry(name: str, index: int) -> Any:
        made = schema.TensorMapT()
        made.name, made.tensorIndex = name.encode(), index
        return made

    model, subgraph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [subgraph]
    code, lookup, signature = schema.OperatorCodeT(), schema.OperatorT(), schema.SignatureDefT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.EMBEDDING_LOOKUP
    code.version = 3  # the first that takes a scale for each row
    lookup.inputs, lookup.outputs = np.array([0, 1], np.int32), np.array([2], np.int32)
    subgraph.tensors = [
        tensor(IDS, (count,), schema.TensorType.INT32),
        tensor(TABLE, (ROWS, WIDTH), schema.TensorType.FLOAT32),
        tensor(FOUND, (count, WIDTH), schema.TensorType.FLOAT32),
    ]
    subgraph.inputs, subgraph.outputs = np.array([0, 1], np.int32), np.array([2], np.int32)
    subgraph.operators, model.operatorCodes = [lookup], [code]
    signature.signatureKey, signature.subgraphIndex = b"look_up", 0
    signature.inputs = [entry(IDS, 0), entry(WEIGHT_PREFIX + TABLE, 1)]
    signature.outputs = [entry(FOUND, 2)]
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def bound_file(folder: Path, values: NDArray[np.float32], count: int, recipe: str) -> Path:
    (folder / "values").write_bytes(values.tobytes())
    stored = StoredTensor(TABLE, "F32", values.shape, folder / "values", 0)
    with TensorReader() as reader, (folder / "model.tflite").open("wb") as stream:
        weight = Weight(f"target.{TABLE}", TensorSpec(values.shape), stored, reader)
        bind(lookup_graph(count), {TABLE: weight}, RECIPES[recipe], stream)
    return folder / "model.tflite"


def operators(path: Path) -> list[int]:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    return [model.operatorCodes[o.opcodeIndex].builtinCode for o in model.subgraphs[0].operators]


@pytest.mark.parametrize(("count", "recipe", "split"), [
    (MANY_ROWS, "int8", True),
    (MANY_ROWS - 1, "int8", False),
    (MANY_ROWS, "int4", False),
    (MANY_ROWS, "float32", False),
])  # fmt: skip
def test_looked_up_rows_are_what_was_stored(
    tmp_path: Path, count: int, recipe: str, split: bool
) -> None:
    noise = np.random.default_rng(0)
    values = noise.standard_normal((ROWS, WIDTH)).astype(np.float32)
    path = bound_file(tmp_path, values, count, recipe)
    assert (schema.BuiltinOperator.CAST in operators(path)) == split

    model = CompiledModel.from_file(str(path), HardwareAccelerator.CPU)
    ids = noise.integers(0, ROWS, count).astype(np.int32)
    given = model.create_input_buffer_by_name("look_up", IDS)
    found = model.create_output_buffer_by_name("look_up", FOUND)
    given.write(ids)
    model.run_by_name("look_up", {IDS: given}, {FOUND: found})

    storage = RECIPES[recipe].rule(f"target.{TABLE}")
    expected = values
    if storage.storage.quantised:
        expected = dequantize_rows(quantize_rows(values, storage.storage, storage.algorithm))
    result = found.read(count * WIDTH, np.float32).reshape(count, WIDTH)
    np.testing.assert_array_equal(result, expected[ids])
