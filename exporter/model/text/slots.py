"""Taking a stretch of cache slots whose start is known only at run time.

PyTorch has no such operation that survives tracing, so this one is registered with torch and, for
lowering, with litert-torch, where it becomes a SLICE with a computed begin. The eager version is what
``verify`` and the tests run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from litert_converter.mlir import ir
from litert_converter.mlir.dialects import stablehlo
from litert_torch.backend import lowerings
from torch import Tensor


@torch.library.custom_op("mtp_export::stretch", mutates_args=())
def stretch(x: Tensor, start: Tensor, axis: int, length: int) -> Tensor:
    """``x[..., start : start + length, ...]`` along ``axis``.

    Args:
        x: Any tensor.
        start: int32 scalar; the caller keeps ``start + length`` within ``x``.
        axis: The axis that is cut, not negative.
        length: Number of entries taken, known when tracing.
    """
    return x.narrow(axis, int(start), length).clone()


@stretch.register_fake
def _(x: Tensor, start: Tensor, axis: int, length: int) -> Tensor:
    return x.new_empty([length if i == axis else n for i, n in enumerate(x.shape)])


@lowerings.lower(torch.ops.mtp_export.stretch)  # type: ignore[untyped-decorator]
def _lower(context: Any, x: ir.Value, start: ir.Value, axis: int, length: int) -> ir.Value:
    shape = list(ir.RankedTensorType(x.type).shape)
    zero = stablehlo.constant(ir.DenseElementsAttr.get(np.zeros((), np.int32)))
    starts = [start if i == axis else zero for i in range(len(shape))]
    sizes = [length if i == axis else n for i, n in enumerate(shape)]
    return stablehlo.dynamic_slice(x, starts, ir.DenseI64ArrayAttr.get(sizes))
