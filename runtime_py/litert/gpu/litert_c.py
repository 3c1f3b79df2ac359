"""LiteRT's C interface as far as the GPU needs it, taken from the stock engine's library.

LiteRT's Python wrapper cannot name the tensors that stay on the device between calls, without which
no KV cache works there; and its wheel's WebGPU accelerator (2.3.0) ends the process on a model with
composites (``tests/gpu/test_wheel.py``). The engine's library carries LiteRT, its accelerator and
this interface in one build.

Source: LiteRT's ``litert/c`` headers; structures and numbers there are declared stable.
"""

from __future__ import annotations

import ctypes
import importlib.util
import weakref
from collections.abc import Mapping
from ctypes import byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.errors import EngineError

LIBRARY = "liblitert-lm.so"

GPU = 2
"""``kLiteRtHwAcceleratorGpu``: nothing else may run a node."""

WARNING_SEVERITY = 2
MIN_SEVERITY_OPTION, INT_VALUE = 25, 2  # kLiteRtEnvOptionTagMinLoggerSeverity, kLiteRtAnyTypeInt
LOCK_READ, LOCK_WRITE = 0, 1
MAX_RANK = 8

ELEMENT_TYPES: dict[int, Any] = {1: np.float32, 2: np.int32, 6: np.bool_, 10: np.float16}

Array = NDArray[Any]


class _Layout(ctypes.Structure):
    _fields_ = (
        ("rank_and_flags", c_uint32),  # rank in the low 7 bits
        ("dimensions", c_int32 * MAX_RANK),
        ("strides", c_uint32 * MAX_RANK),
    )


class _TensorType(ctypes.Structure):
    _fields_ = (("element_type", c_int), ("layout", _Layout))


class _Any(ctypes.Structure):
    _fields_ = (("type", c_int), ("value", c_int64))


class _EnvironmentOption(ctypes.Structure):
    _fields_ = (("tag", c_int), ("value", _Any))


_keep = ctypes.CFUNCTYPE(None, c_void_p)(lambda _: None)
"""A destructor for what Python owns."""


@cache
def _library() -> ctypes.CDLL:
    found = importlib.util.find_spec("litert_lm")
    if found is None or found.origin is None:
        raise EngineError(
            "the reference runtime drives a GPU through the stock engine's library, and "
            "litert-lm-api is not installed: pip install 'mtp-export[engine]'"
        )
    path = Path(found.origin).parent / LIBRARY
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise EngineError(
            f"{path}: the stock engine's library cannot be loaded: {error}"
        ) from error
    library.LiteRtGetStatusString.restype = c_char_p
    return library


def call(function: str, *arguments: Any) -> None:
    """Call a function that returns a status.

    Raises:
        EngineError: The status is not 0, or the engine is not installed.
    """
    library = _library()
    if status := getattr(library, function)(*arguments):
        said = library.LiteRtGetStatusString(status).decode()
        raise EngineError(f"LiteRT's {function} failed: {said}")


class Environment:
    """What models share: the device, above all. Its buffers end with it."""

    def __init__(self) -> None:
        self.buffers: weakref.WeakSet[Buffer] = weakref.WeakSet()
        option = _EnvironmentOption(MIN_SEVERITY_OPTION, _Any(INT_VALUE, WARNING_SEVERITY))
        self.handle = c_void_p()
        call("LiteRtCreateEnvironment", 1, byref(option), byref(self.handle))

    def close(self) -> None:
        """Release it and its buffers; models must be gone."""
        for buffer in list(self.buffers):
            buffer.close()
        if self.handle:
            _library().LiteRtDestroyEnvironment(self.handle)
            self.handle.value = None


@dataclass(frozen=True)
class Tensor:
    """One input or output of a signature."""

    index: int
    type: _TensorType

    @property
    def shape(self) -> tuple[int, ...]:
        layout = self.type.layout
        return tuple(layout.dimensions[: layout.rank_and_flags & 0x7F])


@dataclass(frozen=True)
class SignatureTensors:
    """A signature's number and its tensors by name, in order."""

    index: int
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


class Buffer:
    """Memory of the device, of the kind that one tensor asks for."""

    def __init__(self, environment: Environment, tensor: Tensor, requirements: c_void_p) -> None:
        self.tensor = tensor
        self.handle = c_void_p()
        call(
            "LiteRtCreateManagedTensorBufferFromRequirements",
            environment.handle,
            byref(tensor.type),
            requirements,
            byref(self.handle),
        )
        environment.buffers.add(self)

    def __del__(self) -> None:
        self.close()

    @property
    def dtype(self) -> Any:
        return np.dtype(ELEMENT_TYPES[self.tensor.type.element_type])

    def clear(self) -> None:
        """Set every byte to 0."""
        call("LiteRtClearTensorBuffer", self.handle)

    def write(self, values: Array) -> None:
        """Copy ``values``, which have as many elements as the tensor."""
        given = np.ascontiguousarray(values, dtype=self.dtype)
        assert given.size == int(np.prod(self.tensor.shape)), (given.shape, self.tensor.shape)
        ctypes.memmove(self._lock(LOCK_WRITE), given.ctypes.data, given.nbytes)
        call("LiteRtUnlockTensorBuffer", self.handle)

    def read(self) -> Array:
        """A copy of the values, in the tensor's shape."""
        values = np.empty(self.tensor.shape, self.dtype)
        ctypes.memmove(values.ctypes.data, self._lock(LOCK_READ), values.nbytes)
        call("LiteRtUnlockTensorBuffer", self.handle)
        return values

    def _lock(self, mode: int) -> int:
        address = c_void_p()
        call("LiteRtLockTensorBuffer", self.handle, byref(address), mode)
        assert address.value is not None
        return address.value

    def forget_event(self) -> None:
        """Before the buffer is an output again: what it waited for is over."""
        call("LiteRtClearTensorBufferEvent", self.handle)

    def close(self) -> None:
        """Release it."""
        if self.handle:
            _library().LiteRtDestroyTensorBuffer(self.handle)
            self.handle.value = None


@dataclass(frozen=True)
class Region:
    """A region of memory."""

    address: int
    nbytes: int

    @staticmethod
    def of(content: bytes) -> Region:
        """Where ``content`` is; the caller keeps it alive."""
        address = ctypes.cast(c_char_p(content), c_void_p).value
        assert address is not None
        return Region(address, len(content))


class CompiledModel:
    """A model compiled for the GPU.

    Args:
        environment: Shared by the models of a bundle.
        content: Where the flatbuffer is; it must stay there as long as the model. Not the bytes
            themselves: a traceback would keep them alive beyond the end of their mapping.
        options: LiteRT's GPU options, as TOML.

    Raises:
        EngineError: LiteRT refuses the model, or there is no device.
    """

    def __init__(self, environment: Environment, content: Region, options: str) -> None:
        self._environment = environment
        self._model, self._options, self._compiled = c_void_p(), c_void_p(), c_void_p()
        self._toml = ctypes.create_string_buffer(options.encode())
        address, size = c_void_p(content.address), c_size_t(content.nbytes)
        try:
            handle = environment.handle
            call("LiteRtCreateModelFromBuffer", handle, address, size, byref(self._model))
            self._set_options()
            compiled = byref(self._compiled)
            call("LiteRtCreateCompiledModel", handle, self._model, self._options, compiled)
            self.signatures = dict(self._signatures())
        except BaseException:
            self.close()
            raise

    def _set_options(self) -> None:
        opaque = c_void_p()
        call("LiteRtCreateOptions", byref(self._options))
        call("LiteRtSetOptionsHardwareAccelerators", self._options, GPU)
        call("LiteRtCreateOpaqueOptions", b"gpu_options", self._toml, _keep, byref(opaque))
        call("LiteRtAddOpaqueOptions", self._options, opaque)

    def _signatures(self) -> list[tuple[str, SignatureTensors]]:
        count = c_size_t()
        call("LiteRtGetNumModelSignatures", self._model, byref(count))
        found = []
        for index in range(count.value):
            signature, key = c_void_p(), c_char_p()
            call("LiteRtGetModelSignature", self._model, c_size_t(index), byref(signature))
            call("LiteRtGetSignatureKey", signature, byref(key))
            sides = (_tensors(signature, side) for side in ("Input", "Output"))
            assert key.value is not None
            found.append((key.value.decode(), SignatureTensors(index, *sides)))
        return found

    def input_buffer(self, signature: str, name: str) -> Buffer:
        """Memory for an input."""
        found = self.signatures[signature]
        return self._buffer("Input", found.index, found.inputs[name])

    def output_buffer(self, signature: str, name: str) -> Buffer:
        """Memory for an output."""
        found = self.signatures[signature]
        return self._buffer("Output", found.index, found.outputs[name])

    def _buffer(self, side: str, signature: int, tensor: Tensor) -> Buffer:
        requirements = c_void_p()  # LiteRT's own; not to be released
        call(
            f"LiteRtGetCompiledModel{side}BufferRequirements",
            self._compiled,
            c_size_t(signature),
            c_size_t(tensor.index),
            byref(requirements),
        )
        return Buffer(self._environment, tensor, requirements)

    def run(
        self, signature: str, inputs: Mapping[str, Buffer], outputs: Mapping[str, Buffer]
    ) -> None:
        """Run a signature.

        An input that the device does not read may be left out: a cache that is updated in place
        is given as an output only.

        Raises:
            EngineError: LiteRT failed.
        """
        found = self.signatures[signature]
        given = [inputs[name].handle if name in inputs else None for name in found.inputs]
        made = [outputs[name].handle for name in found.outputs]
        for name in found.outputs:
            outputs[name].forget_event()
        call(
            "LiteRtRunCompiledModel",
            self._compiled,
            c_size_t(found.index),
            c_size_t(len(given)),
            (c_void_p * len(given))(*given),
            c_size_t(len(made)),
            (c_void_p * len(made))(*made),
        )

    def close(self) -> None:
        """Release it; its buffers must not be used in a run any more."""
        library = _library()
        for destroy, handle in (
            (library.LiteRtDestroyCompiledModel, self._compiled),
            (library.LiteRtDestroyOptions, self._options),
            (library.LiteRtDestroyModel, self._model),
        ):
            if handle:
                destroy(handle)
                handle.value = None


def _tensors(signature: c_void_p, side: str) -> dict[str, Tensor]:
    """Inputs or outputs of a signature."""
    count, tensors = c_size_t(), {}
    call(f"LiteRtGetNumSignature{side}s", signature, byref(count))
    for index in range(count.value):
        name, tensor, kind = c_char_p(), c_void_p(), _TensorType()
        position = c_size_t(index)
        call(f"LiteRtGetSignature{side}Name", signature, position, byref(name))
        call(f"LiteRtGetSignature{side}TensorByIndex", signature, position, byref(tensor))
        call("LiteRtGetRankedTensorType", tensor, byref(kind))
        assert name.value is not None
        tensors[name.value.decode()] = Tensor(index, kind)
    return tensors
