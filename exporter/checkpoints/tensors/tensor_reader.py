"""Rows of tensors, read from the safetensors files they lie in.

They are read into a buffer: if the file were mapped, its pages would count as this process's memory, 10 GB
for E2B.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.errors import CheckpointError

FLOAT_TYPES = ("F32", "F16", "BF16")


class TensorReader:
    """Reads rows of tensors from the files they lie in. Use as a context manager."""

    def __init__(self) -> None:
        self._files = ExitStack()
        self._open: dict[Path, FileIO] = {}

    def __enter__(self) -> TensorReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()
        self._open.clear()

    def read(self, tensor: StoredTensor, start: int, count: int) -> bytearray:
        """``count`` elements of ``tensor`` from element ``start`` on, as they are stored.

        Raises:
            CheckpointError: The file ended early.
        """
        if tensor.file not in self._open:
            self._open[tensor.file] = self._files.enter_context(FileIO(tensor.file))
        stream = self._open[tensor.file]
        stream.seek(tensor.offset + start * tensor.itemsize)
        data = bytearray(count * tensor.itemsize)
        view, done = memoryview(data), 0
        while done < len(data):
            got = stream.readinto(view[done:])
            if not got:
                raise CheckpointError(f"{tensor.file}: ended while reading {tensor.name}")
            done += got
        return data

    def floats(self, tensor: StoredTensor, start: int, count: int) -> NDArray[np.float32]:
        """Elements of a tensor as float32.

        Raises:
            CheckpointError: The tensor is not of a float type, or has NaN or infinite elements.
        """
        values = self.numbers(tensor, start, count)
        if not np.isfinite(values).all():
            first = start + int(np.argmin(np.isfinite(values)))
            raise CheckpointError(
                f"{tensor.file}: {tensor.name} has NaN or infinite values (the first is element "
                f"{first}); such a checkpoint cannot be exported: look for a diverged training run "
                "or a damaged file"
            )
        return values

    def numbers(self, tensor: StoredTensor, start: int, count: int) -> NDArray[np.float32]:
        """Elements of a tensor as float32, infinite ones included.

        Raises:
            CheckpointError: The tensor is not of a float type.
        """
        if tensor.dtype not in FLOAT_TYPES:
            raise CheckpointError(
                f"{tensor.file}: {tensor.name} is {tensor.dtype}, expected one of {', '.join(FLOAT_TYPES)}"
            )
        return _to_float32(self.read(tensor, start, count), tensor.dtype)

    def integers(self, tensor: StoredTensor) -> NDArray[np.int64]:
        """A whole integer tensor.

        Raises:
            CheckpointError: The tensor is not I64 or I32.
        """
        types = {"I64": "<i8", "I32": "<i4"}
        if tensor.dtype not in types:
            raise CheckpointError(
                f"{tensor.file}: {tensor.name} is {tensor.dtype}, expected I64 or I32"
            )
        data = self.read(tensor, 0, math.prod(tensor.shape))
        return np.frombuffer(data, types[tensor.dtype]).astype(np.int64).reshape(tensor.shape)


def _to_float32(data: bytearray, dtype: str) -> NDArray[np.float32]:
    if dtype == "BF16":
        wide = np.frombuffer(data, "<u2").astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    return np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[dtype]).astype(np.float32, copy=False)
