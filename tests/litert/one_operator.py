"""A graph of one operator over one stored weight, made by hand: what kernels make of our bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from numpy.typing import NDArray

from exporter.litertlm.constant import TENSOR_TYPES
from exporter.lowering.merge import FILE_IDENTIFIER
from quantize.arrays import QuantisedRows, packed_rows
from quantize.storage import Storage

Floats = NDArray[np.float32]


class OneOperator:
    """FULLY_CONNECTED of ``[1, T, C]``, or EMBEDDING_LOOKUP of ``[T]``, with a weight ``[R, C]``."""

    def __init__(
        self, weight: QuantisedRows, storage: Storage, tokens: int, *, lookup: bool
    ) -> None:
        self.rows, self.columns = weight.codes.shape
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.buffers, self.graph.tensors = 3, [schema.BufferT()], []
        stored = packed_rows(weight, storage)
        element = TENSOR_TYPES[storage.bits]
        quantization = self._quantization(stored.scales, storage)
        index = self._tensor(b"w", weight.codes.shape, element, stored.data)
        self.graph.tensors[index].quantization = quantization
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        if lookup:
            code.builtinCode, code.version = schema.BuiltinOperator.EMBEDDING_LOOKUP, 4
            given = self._tensor(b"in", (tokens,), schema.TensorType.INT32)
            made = self._tensor(b"out", (tokens, self.columns), schema.TensorType.FLOAT32)
            operator.inputs = np.array([given, index], np.int32)
        else:
            code.builtinCode, code.version = schema.BuiltinOperator.FULLY_CONNECTED, 12
            given = self._tensor(b"in", (1, tokens, self.columns), schema.TensorType.FLOAT32)
            made = self._tensor(b"out", (1, tokens, self.rows), schema.TensorType.FLOAT32)
            operator.inputs = np.array([given, index, -1], np.int32)
            operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
            operator.builtinOptions = schema.FullyConnectedOptionsT()
            operator.builtinOptions.keepNumDims = True
        code.deprecatedBuiltinCode = code.builtinCode
        operator.outputs = self.graph.outputs = np.array([made], np.int32)
        self.graph.inputs = np.array([given], np.int32)
        self.graph.operators, self.model.operatorCodes = [operator], [code]
        self.model.subgraphs = [self.graph]
        self.model.signatureDefs = [_signature(given, made)]
        self.shape = tuple(self.graph.tensors[made].shape)

    def _tensor(self, name: bytes, shape: tuple[int, ...], kind: int, data: bytes = b"") -> int:
        tensor, buffer = schema.TensorT(), schema.BufferT()
        tensor.name, tensor.shape, tensor.type = name, np.array(shape, np.int32), kind
        if data:
            buffer.data = np.frombuffer(data, np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _quantization(self, scales: Floats, storage: Storage) -> Any:
        quantization = schema.QuantizationParametersT()
        if storage.block is None:
            quantization.scale = scales.reshape(-1)
            quantization.zeroPoint = np.zeros(len(scales), np.int64)
            return quantization
        details = quantization.details = schema.BlockwiseQuantizationT()
        quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization
        halves = scales.astype("<f2").tobytes()
        details.scales = self._tensor(b"scales", scales.shape, schema.TensorType.FLOAT16, halves)
        details.zeroPoints, details.blockSize = -1, storage.block
        return quantization

    def run(self, inputs: NDArray[Any], folder: Path) -> Floats:
        """The output of LiteRT's CPU kernels."""
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), FILE_IDENTIFIER)
        file = folder / "one.tflite"
        file.write_bytes(bytes(builder.Output()))
        model = CompiledModel.from_file(str(file), HardwareAccelerator.CPU)
        given = model.create_input_buffer_by_name("f", "in")
        made = model.create_output_buffer_by_name("f", "out")
        given.write(np.ascontiguousarray(inputs))
        model.run_by_name("f", {"in": given}, {"out": made})
        output: Floats = made.read(int(np.prod(self.shape)), np.float32).reshape(self.shape)
        return output


def _signature(given: int, made: int) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"f", 0
    signature.inputs, signature.outputs = [schema.TensorMapT()], [schema.TensorMapT()]
    signature.inputs[0].name, signature.inputs[0].tensorIndex = b"in", given
    signature.outputs[0].name, signature.outputs[0].tensorIndex = b"out", made
    return signature
