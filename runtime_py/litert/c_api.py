"""LiteRT's C interface, as far as graphs need it.

LiteRT's Python wrapper takes a model as ``bytes`` or as a whole file only, so that the weights of a
bundle would be copied; here a model is an address. Nor can the wrapper name the tensors that stay on a
GPU between calls, without which no KV cache works there.

Two libraries carry the interface. For the CPU it is that of the LiteRT wheel. For a GPU it is the stock
engine's, because the wheel's WebGPU accelerator (2.3.0) ends the process on a model with composites
(``tests/gpu/test_wheel.py``).

Source: LiteRT's ``litert/c`` headers; structures and numbers there are declared stable.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import weakref
from ctypes import byref, c_int, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.contract.names import Accelerator
from exporter.errors import EngineError
from exporter.pip_install import pip_install

WARNING_SEVERITY = 2
MIN_SEVERITY_OPTION, INT_VALUE = 25, 2  # kLiteRtEnvOptionTagMinLoggerSeverity, kLiteRtAnyTypeInt
LOCK_READ, LOCK_WRITE = 0, 1
MAX_RANK = 8

ALIGNMENT = 64  # bytes, of memory that LiteRT uses in place
OVERREAD = 128  # bytes that kernels may touch behind a buffer

ELEMENT_TYPES: dict[int, Any] = {
    1: np.float32,
    2: np.int32,
    6: np.bool_,
    9: np.int8,
    10: np.float16,
}

Array = NDArray[Any]


class _Layout(ctypes.Structure):
    _fields_ = (
        ("rank_and_flags", c_uint32),  # rank in the low 7 bits
        ("dimensions", c_int32 * MAX_RANK),
        ("strides", c_uint32 * MAX_RANK),
    )


class TensorType(ctypes.Structure):
    """LiteRT's ``LiteRtRankedTensorType``."""

    _fields_ = (("element_type", c_int), ("layout", _Layout))


class _Any(ctypes.Structure):
    _fields_ = (("type", c_int), ("value", c_int64))


class _EnvironmentOption(ctypes.Structure):
    _fields_ = (("tag", c_int), ("value", _Any))


class Library:
    """A shared library that carries LiteRT.

    Raises:
        EngineError: It cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.functions = ctypes.CDLL(str(path))
        except OSError as error:
            raise EngineError(f"{path}: LiteRT's library cannot be loaded: {error}") from error

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function that returns a status.

        Raises:
            EngineError: The status is not 0.
        """
        if status := getattr(self.functions, function)(*arguments):
            raise EngineError(f"{function} failed with status {status}")

    def destroy(self, kind: str, handle: c_void_p) -> None:
        """Release what a handle is of, once."""
        if handle:
            getattr(self.functions, f"LiteRtDestroy{kind}")(handle)
            handle.value = None


@cache
def library(accelerator: Accelerator) -> Library:
    """The library that drives an accelerator.

    Raises:
        EngineError: It is missing.
    """
    if accelerator is Accelerator.CPU:
        return Library(_folder("ai_edge_litert") / "libLiteRt.so")
    return Library(_folder("litert_lm") / "liblitert-lm.so")


def _folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        assert package == "litert_lm"  # the other one is always there
        raise EngineError(
            "the reference runtime drives a GPU through the stock engine's library, and "
            f"litert-lm-api is not installed: {pip_install('engine')}"
        )
    return Path(found.origin).parent


class Environment:
    """What the models on one accelerator share: the device, above all. Its buffers end with it."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.library = library(accelerator)
        self.buffers: weakref.WeakSet[DeviceBuffer] = weakref.WeakSet()
        option = _EnvironmentOption(MIN_SEVERITY_OPTION, _Any(INT_VALUE, WARNING_SEVERITY))
        self.handle = c_void_p()
        self.library.call("LiteRtCreateEnvironment", 1, byref(option), byref(self.handle))

    def close(self) -> None:
        """Release it and its buffers; models must be gone."""
        for buffer in list(self.buffers):
            buffer.close()
        self.library.destroy("Environment", self.handle)


@dataclass(frozen=True)
class SignatureTensor:
    """One input or output of a signature."""

    index: int
    type: TensorType

    @property
    def shape(self) -> tuple[int, ...]:
        layout = self.type.layout
        return tuple(layout.dimensions[: layout.rank_and_flags & 0x7F])

    @property
    def dtype(self) -> Any:
        return np.dtype(ELEMENT_TYPES[self.type.element_type])


class HostBuffer:
    """Memory of this process that graphs on the CPU use in place; zeros at first."""

    def __init__(self, environment: Environment, tensor: SignatureTensor) -> None:
        self._library, self.handle = environment.library, c_void_p()
        nbytes = math.prod(tensor.shape) * tensor.dtype.itemsize
        memory = np.zeros(nbytes + ALIGNMENT + OVERREAD, dtype=np.uint8)
        begin = -memory.ctypes.data % ALIGNMENT
        content = memory[begin : begin + nbytes]
        self.values: Array = content.view(tensor.dtype).reshape(tensor.shape)
        """They stay where they are when the buffer is gone."""
        self._library.call(
            "LiteRtCreateTensorBufferFromHostMemory",
            byref(tensor.type),
            c_void_p(content.ctypes.data),
            c_size_t(nbytes),
            None,
            byref(self.handle),
        )

    def __del__(self) -> None:
        self._library.destroy("TensorBuffer", self.handle)

    def write(self, values: Array) -> None:
        """Replace the values."""
        self.values[...] = values

    def read(self) -> Array:
        """A copy of the values."""
        return self.values.copy()


class DeviceBuffer:
    """Memory of a GPU, of the kind that one tensor asks for."""

    def __init__(
        self, environment: Environment, tensor: SignatureTensor, requirements: c_void_p
    ) -> None:
        self.tensor = tensor
        self._library, self.handle = environment.library, c_void_p()
        self._library.call(
            "LiteRtCreateManagedTensorBufferFromRequirements",
            environment.handle,
            byref(tensor.type),
            requirements,
            byref(self.handle),
        )
        environment.buffers.add(self)

    def __del__(self) -> None:
        self.close()

    def clear(self) -> None:
        """Set every byte to 0."""
        self._library.call("LiteRtClearTensorBuffer", self.handle)

    def write(self, values: Array) -> None:
        """Copy ``values``, which have as many elements as the tensor."""
        given = np.ascontiguousarray(values, dtype=self.tensor.dtype)
        assert given.size == math.prod(self.tensor.shape), (given.shape, self.tensor.shape)
        ctypes.memmove(self._lock(LOCK_WRITE), given.ctypes.data, given.nbytes)
        self._library.call("LiteRtUnlockTensorBuffer", self.handle)

    def read(self) -> Array:
        """A copy of the values, in the tensor's shape."""
        values = np.empty(self.tensor.shape, self.tensor.dtype)
        ctypes.memmove(values.ctypes.data, self._lock(LOCK_READ), values.nbytes)
        self._library.call("LiteRtUnlockTensorBuffer", self.handle)
        return values

    def _lock(self, mode: int) -> int:
        address = c_void_p()
        self._library.call("LiteRtLockTensorBuffer", self.handle, byref(address), mode)
        assert address.value is not None
        return address.value

    def forget_event(self) -> None:
        """Before the buffer is an output again: what it waited for is over."""
        self._library.call("LiteRtClearTensorBufferEvent", self.handle)

    def close(self) -> None:
        """Release it."""
        self._library.destroy("TensorBuffer", self.handle)


AnyBuffer = HostBuffer | DeviceBuffer
