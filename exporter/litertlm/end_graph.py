"""The graph for the end of a picture or a clip: nothing in, one embedding out.

There is nothing to compute, so nothing is lowered: the graph is a tensor that is input and output alike, as
a lowered graph's weights are inputs, and binding turns it into a constant.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from exporter.contract.names import EMBEDDINGS, WEIGHT_PREFIX, TensorSpec
from exporter.lowering.merge import FILE_IDENTIFIER
from exporter.weights.tower_parameters import END_EMBEDDING

SCHEMA_VERSION = 3


def end_graph(name: str, spec: TensorSpec) -> bytes:
    """A flatbuffer that gives back its weight.

    Args:
        name: Of its signature.
        spec: Of the embedding, ``[1, 1, H]``.
    """
    tensor = schema.TensorT()
    tensor.name, tensor.type = END_EMBEDDING.encode(), schema.TensorType.FLOAT32
    tensor.shape, tensor.hasRank, tensor.buffer = np.array(spec.shape, np.int32), True, 0
    subgraph = schema.SubGraphT()
    subgraph.name, subgraph.tensors, subgraph.operators = name.encode(), [tensor], []
    subgraph.inputs = subgraph.outputs = np.zeros(1, np.int32)
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = name.encode(), 0
    signature.inputs = [_entry(WEIGHT_PREFIX + END_EMBEDDING)]
    signature.outputs = [_entry(EMBEDDINGS)]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.buffers = SCHEMA_VERSION, [], [schema.BufferT()]
    model.subgraphs, model.signatureDefs = [subgraph], [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _entry(name: str) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), 0
    return entry
