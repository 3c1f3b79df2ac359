"""Graphs and headers whose checksums fit and whose insides do not: one error, in bounded time."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from exporter.bundle.graph_reader import GraphReader
from exporter.bundle.inspection import inspect_bundle
from exporter.bundle.model_tables import IDENTIFIER
from exporter.bundle.reader import HEADER_BEGIN, open_bundle
from exporter.contract.names import Section
from exporter.errors import BundleError
from exporter.verify.sides.stored_weights import stored_constants
from runtime_py.litert.resized_graph import Resizing
from tests.damage import damaged, rewritten

MUTATIONS = 150
"""Of a graph, and of a header."""

SHARED = 20_000
"""Signatures that share one table of as many inputs."""

PATIENCE = 15.0
"""Seconds that reading such a graph may take, on a busy machine; all pairs take an hour."""


READERS: tuple[Callable[[bytes], object], ...] = (
    lambda graph: GraphReader(graph, "x").signatures(),
    lambda graph: GraphReader(graph, "x").constants(),
    lambda graph: GraphReader(graph, "x").graph_bytes(),
    lambda graph: Resizing(7, 14).apply(memoryview(bytearray(graph)), "x"),
)
"""All that is read of a graph before LiteRT has it."""


@pytest.fixture(scope="module")
def bundle(tiny_bundles: dict[str, Path]) -> Path:
    return tiny_bundles["int8"]


def graph_of(bundle: Path, section: Section) -> bytes:
    opened = open_bundle(bundle)
    entry = opened.model(section)
    assert entry is not None
    return opened.read(entry)


def test_what_is_read_is_what_the_generated_reader_reads(bundle: Path) -> None:
    content = graph_of(bundle, Section.PREFILL_DECODE)
    model, other = GraphReader(content, "").model, schema.Model.GetRootAs(content, 0)
    assert len(model.operator_codes) == other.OperatorCodesLength()
    for i, code in enumerate(model.operator_codes):
        assert code == other.OperatorCodes(i).BuiltinCode()
    signatures = list(model.signatures)
    assert len(signatures) == other.SignatureDefsLength()
    for i, signature in enumerate(signatures):
        there = other.SignatureDefs(i)
        assert signature.name == there.SignatureKey().decode()
        assert signature.subgraph == there.SubgraphIndex()
        for side, read, count in (
            (signature.inputs, there.Inputs, there.InputsLength()),
            (signature.outputs, there.Outputs, there.OutputsLength()),
        ):
            wanted = [(read(j).Name().decode(), read(j).TensorIndex()) for j in range(count)]
            assert list(side) == wanted
    for i, subgraph in enumerate(model.subgraphs):
        whole = other.Subgraphs(i)
        assert len(subgraph.operators) == whole.OperatorsLength()
        for j, operator in enumerate(subgraph.operators):
            assert operator.number(0, "<I") == whole.Operators(j).OpcodeIndex()
            assert operator.numbers(1, "i") == tuple(whole.Operators(j).InputsAsNumpy())
        tensors = list(subgraph.tensors)
        assert len(tensors) == whole.TensorsLength()
        for j, tensor in enumerate(tensors):
            there = whole.Tensors(j)
            buffer, stored = model.buffer(tensor.buffer), other.Buffers(there.Buffer())
            assert tensor.name == there.Name().decode()
            assert (tensor.buffer, tensor.dtype) == (there.Buffer(), dtype_of(there))
            assert list(tensor.sizes) == [there.Shape(k) for k in range(there.ShapeLength())]
            assert (buffer.offset, buffer.data.size) == (stored.Offset(), stored.DataLength())
            assert not buffer.behind or buffer.nbytes == stored.Size()
            if tensor.quantization is not None:
                assert np.array_equal(
                    tensor.quantization.scales,
                    there.Quantization().ScaleAsNumpy() if tensor.quantization.scale_count else [],
                )


def dtype_of(tensor: schema.Tensor) -> str:
    names = (n for n, value in vars(schema.TensorType).items() if value == tensor.Type())
    return str(next(names)).lower()


def mutated(content: bytes, begin: int, end: int) -> Iterator[bytes]:
    """Copies with up to eight bytes changed, or an offset that leads far away, between these places."""
    dice = np.random.default_rng(18)
    for index in range(MUTATIONS):
        changed, places = bytearray(content), dice.integers(begin, end - 8, 1 + index % 8)
        for place in places:
            if index % 3:
                changed[place] = dice.integers(256)
            else:
                struct.pack_into("<i", changed, place // 4 * 4, dice.integers(-(2**31), 2**31))
        yield bytes(changed)


def survives(read: Callable[[], object]) -> bool:
    """Whether it is read; the one error that there may be is ours."""
    try:
        read()
    except BundleError:
        return False
    return True


@pytest.mark.parametrize("section", [Section.EMBEDDER, Section.MTP_DRAFTER])
def test_no_damage_reaches_who_reads_a_graph(section: Section, bundle: Path) -> None:
    opened = open_bundle(bundle)
    entry = opened.model(section)
    assert entry is not None
    content = opened.read(entry)
    results = [
        survives(partial(read, changed))
        for changed in mutated(content, 0, entry.graph_bytes)
        for read in READERS
    ]
    assert True in results
    assert results.count(False) > MUTATIONS // 10


def test_no_damage_reaches_who_reads_a_bundle(bundle: Path, tmp_path: Path) -> None:
    """Of the header, and of a graph with the checksums that go with it."""
    opened = open_bundle(bundle)
    content, end = bundle.read_bytes(), min(section.begin for section in opened.sections)
    path, results = tmp_path / "header.litertlm", []
    for changed in list(mutated(content[:end], HEADER_BEGIN, end))[::3]:
        path.write_bytes(changed + content[end:])
        results.append(survives(partial(inspect_bundle, path)))
    entry = opened.model(Section.EMBEDDER)
    assert entry is not None
    for changed in list(mutated(opened.read(entry), 0, entry.graph_bytes))[::5]:
        path = rewritten(bundle, tmp_path, entry, changed[: entry.graph_bytes])
        results += [survives(partial(read, path)) for read in (inspect_bundle, weights)]
    assert {True, False} == set(results)


def weights(path: Path) -> None:
    for constants in stored_constants(open_bundle(path)).values():
        for constant in constants.values():
            if constant.dtype != "int32":
                constant.floats(0, 1)


@pytest.mark.parametrize("told", [b"0", b"-5", b"1e3", b"9999999"])
def test_a_graph_of_an_odd_length(told: bytes, bundle: Path, tmp_path: Path) -> None:
    """Its length is what the runtime may edit, so it must lie in the section."""
    entry = open_bundle(bundle).model(Section.MTP_DRAFTER)
    assert entry is not None
    noted = str(entry.graph_bytes).encode()
    told = told[: len(noted)]
    place = bundle.read_bytes().index(struct.pack("<I", len(noted)) + noted + b"\0")
    patch = struct.pack("<I", len(told)) + told.ljust(len(noted), b"\0")
    with pytest.raises(BundleError, match=r"the flatbuffer is damaged \(a graph of"):
        open_bundle(damaged(bundle, tmp_path, place, patch))


def test_tables_that_share_their_parts(tmp_path: Path) -> None:
    """160 KB say 400 million inputs; whoever goes through them does not come back."""
    builder = flatbuffers.Builder(1 << 20)
    name = builder.CreateString("x")
    schema.TensorMapStart(builder)
    schema.TensorMapAddName(builder, name)
    entry = schema.TensorMapEnd(builder)
    inputs = vector(builder, schema.SignatureDefStartInputsVector, entry)
    schema.SignatureDefStart(builder)
    schema.SignatureDefAddInputs(builder, inputs)
    schema.SignatureDefAddSignatureKey(builder, name)
    signature = schema.SignatureDefEnd(builder)
    signatures = vector(builder, schema.ModelStartSignatureDefsVector, signature)
    schema.TensorStart(builder)
    tensor = schema.TensorEnd(builder)
    tensors = vector(builder, schema.SubGraphStartTensorsVector, tensor)
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    subgraphs = vector(builder, schema.ModelStartSubgraphsVector, schema.SubGraphEnd(builder))
    schema.BufferStart(builder)
    buffers = vector(builder, schema.ModelStartBuffersVector, schema.BufferEnd(builder))
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, subgraphs)
    schema.ModelAddBuffers(builder, buffers)
    schema.ModelAddSignatureDefs(builder, signatures)
    builder.Finish(schema.ModelEnd(builder), IDENTIFIER)
    graph, began = bytes(builder.Output()), time.monotonic()
    for read in (READERS[0], READERS[1], READERS[3]):
        with pytest.raises(BundleError, match="share their parts too often"):
            read(graph)
    assert time.monotonic() - began < PATIENCE


def vector(builder: flatbuffers.Builder, start: Callable[..., object], offset: int) -> int:
    """One table, many times."""
    start(builder, SHARED)
    for _ in range(SHARED):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
