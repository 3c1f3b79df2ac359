"""Looking up many int8 rows at once, faster.

LiteRT's EMBEDDING_LOOKUP turns int8 rows into floats one checked element at a time, without vectors.
For the one row of a token that is nothing; for the 4096 rows that a centroid head scores it was the
longest operation of a draft step. So a lookup of many rows of an int8 table becomes four operations
that give exactly the same floats:

    codes  = EMBEDDING_LOOKUP(ids, codes of the table)     int8 to int8: rows are copied
    values = CAST(codes)
    scales = EMBEDDING_LOOKUP(ids, scales of the table)    [V, 1]
    rows   = values * scales

Knows the operations of a flatbuffer; does not know where a table's bytes and scales are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

MANY_ROWS = 64
"""From here on a lookup is rewritten."""

CODES_SUFFIX = ".codes"
ROW_SCALES_SUFFIX = ".row_scales"
"""Of the names of the tensors that a lookup of many rows reads."""


def bulk_lookups(subgraph: Any, table: int, codes: Sequence[Any]) -> list[Any]:
    """The operators that look up many rows of the tensor with index ``table``.

    Args:
        subgraph: Whose operators are searched.
        table: Index of a tensor of it.
        codes: The model's operator codes.
    """
    return [
        operator
        for operator in subgraph.operators
        if codes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.EMBEDDING_LOOKUP
        and operator.inputs[1] == table
        and subgraph.tensors[operator.outputs[0]].shape[0] >= MANY_ROWS
    ]


def split_lookup(model: Any, subgraph: Any, lookup: Any, scales_buffer: int) -> None:
    """Replace one lookup of int8 rows by the operations above.

    Args:
        model: Gets the operator codes it lacks.
        subgraph: Where the lookup is.
        lookup: The operator; its table is an int8 tensor with one scale a row.
        scales_buffer: Index of the buffer that will hold these scales as float32.
    """
    ids, table_index = (int(index) for index in lookup.inputs)
    table = subgraph.tensors[table_index]
    rows, width = (int(n) for n in table.shape)
    count, types = int(subgraph.tensors[lookup.outputs[0]].shape[0]), schema.TensorType

    def tensor(suffix: str, shape: tuple[int, int], kind: int, buffer: int = 0) -> int:
        made = schema.TensorT()
        made.name = suffix.removeprefix(".").encode()
        made.shape, made.type, made.buffer = np.array(shape, np.int32), kind, buffer
        made.hasRank = True
        subgraph.tensors.append(made)
        return len(subgraph.tensors) - 1

    codes_table = tensor(CODES_SUFFIX, (rows, width), types.INT8, table.buffer)
    scales_table = tensor(ROW_SCALES_SUFFIX, (rows, 1), types.FLOAT32, scales_buffer)
    codes = tensor("looked_up.codes", (count, width), types.INT8)
    values = tensor("looked_up.values", (count, width), types.FLOAT32)
    scales = tensor("looked_up.scales", (count, 1), types.FLOAT32)
    operators = schema.BuiltinOperator
    position = next(i for i, operator in enumerate(subgraph.operators) if operator is lookup)
    subgraph.operators[position : position + 1] = [
        _operator(model, operators.EMBEDDING_LOOKUP, [ids, codes_table], codes),
        _operator(model, operators.CAST, [codes], values),
        _operator(model, operators.EMBEDDING_LOOKUP, [ids, scales_table], scales),
        _operator(model, operators.MUL, [values, scales], int(lookup.outputs[0])),
    ]


def _operator(model: Any, kind: int, inputs: list[int], output: int) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = _code(model, kind)
    operator.inputs = np.array(inputs, np.int32)
    operator.outputs = np.array([output], np.int32)
    if kind == schema.BuiltinOperator.CAST:
        operator.builtinOptionsType = schema.BuiltinOptions.CastOptions
        operator.builtinOptions = schema.CastOptionsT()
        operator.builtinOptions.inDataType = schema.TensorType.INT8
        operator.builtinOptions.outDataType = schema.TensorType.FLOAT32
    if kind == schema.BuiltinOperator.MUL:
        operator.builtinOptionsType = schema.BuiltinOptions.MulOptions
        operator.builtinOptions = schema.MulOptionsT()
    return operator


def _code(model: Any, kind: int) -> int:
    """Index of the operator code of ``kind``, version 1 or what the model has already."""
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == kind:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = kind
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
