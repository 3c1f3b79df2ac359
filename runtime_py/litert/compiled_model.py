"""A model compiled by LiteRT, through its C interface."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from ctypes import byref, c_char_p, c_size_t, c_void_p
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from exporter.contract.names import Accelerator
from runtime_py.litert.c_api import (
    AnyBuffer,
    DeviceBuffer,
    Environment,
    SignatureTensor,
    TensorType,
)

HARDWARE = {Accelerator.CPU: 1, Accelerator.GPU: 2}
"""``LiteRtHwAccelerators``; nothing else may run a node."""

_keep = ctypes.CFUNCTYPE(None, c_void_p)(lambda _: None)
"""A destructor for what Python owns."""


@dataclass(frozen=True)
class SignatureTensors:
    """A signature's number and its tensors by name, in order."""

    index: int
    inputs: Mapping[str, SignatureTensor]
    outputs: Mapping[str, SignatureTensor]


@dataclass(frozen=True)
class CompileOptions:
    """Options of one accelerator, as TOML, and the name that LiteRT has for them."""

    name: bytes
    toml: str


class CompiledModel:
    """A model compiled for the accelerator of its environment.

    Args:
        environment: Shared by the models of a bundle.
        content: The flatbuffer; it is used where it is.
        options: How to compile it; of each name once.

    Raises:
        EngineError: LiteRT refuses the model, or there is no device.
    """

    def __init__(
        self, environment: Environment, content: NDArray[np.uint8], *options: CompileOptions
    ) -> None:
        self.environment = environment
        self._call = environment.library.call
        self._model, self._options, self.compiled = c_void_p(), c_void_p(), c_void_p()
        self._content = content
        self._tomls = [ctypes.create_string_buffer(one.toml.encode()) for one in options]
        address, size = c_void_p(content.ctypes.data), c_size_t(content.nbytes)
        try:
            handle = environment.handle
            self._call("LiteRtCreateModelFromBuffer", handle, address, size, byref(self._model))
            self._set_options([one.name for one in options])
            compiled = byref(self.compiled)
            self._call("LiteRtCreateCompiledModel", handle, self._model, self._options, compiled)
            self.signatures = dict(self._signatures())
        except BaseException:
            self.close()
            raise

    def _set_options(self, names: Sequence[bytes]) -> None:
        hardware = HARDWARE[self.environment.accelerator]
        self._call("LiteRtCreateOptions", byref(self._options))
        self._call("LiteRtSetOptionsHardwareAccelerators", self._options, hardware)
        for name, toml in zip(names, self._tomls, strict=True):
            opaque = c_void_p()
            self._call("LiteRtCreateOpaqueOptions", name, toml, _keep, byref(opaque))
            self._call("LiteRtAddOpaqueOptions", self._options, opaque)

    def _signatures(self) -> Iterator[tuple[str, SignatureTensors]]:
        count = c_size_t()
        self._call("LiteRtGetNumModelSignatures", self._model, byref(count))
        for index in range(count.value):
            signature, key = c_void_p(), c_char_p()
            self._call("LiteRtGetModelSignature", self._model, c_size_t(index), byref(signature))
            self._call("LiteRtGetSignatureKey", signature, byref(key))
            sides = (dict(self._tensors(signature, side)) for side in ("Input", "Output"))
            assert key.value is not None
            yield key.value.decode(), SignatureTensors(index, *sides)

    def _tensors(self, signature: c_void_p, side: str) -> Iterator[tuple[str, SignatureTensor]]:
        """Inputs or outputs of a signature."""
        count = c_size_t()
        self._call(f"LiteRtGetNumSignature{side}s", signature, byref(count))
        for index in range(count.value):
            name, tensor, kind = c_char_p(), c_void_p(), TensorType()
            at = c_size_t(index)
            self._call(f"LiteRtGetSignature{side}Name", signature, at, byref(name))
            self._call(f"LiteRtGetSignature{side}TensorByIndex", signature, at, byref(tensor))
            self._call("LiteRtGetRankedTensorType", tensor, byref(kind))
            assert name.value is not None
            yield name.value.decode(), SignatureTensor(index, kind)

    def input_buffer(self, signature: str, name: str) -> DeviceBuffer:
        """Memory of the device for an input."""
        found = self.signatures[signature]
        return self._buffer("Input", found.index, found.inputs[name])

    def output_buffer(self, signature: str, name: str) -> DeviceBuffer:
        """Memory of the device for an output."""
        found = self.signatures[signature]
        return self._buffer("Output", found.index, found.outputs[name])

    def _buffer(self, side: str, signature: int, tensor: SignatureTensor) -> DeviceBuffer:
        requirements = c_void_p()  # LiteRT's own; not to be released
        self._call(
            f"LiteRtGetCompiledModel{side}BufferRequirements",
            self.compiled,
            c_size_t(signature),
            c_size_t(tensor.index),
            byref(requirements),
        )
        return DeviceBuffer(self.environment, tensor, requirements)

    def call(
        self, signature: str, inputs: Mapping[str, AnyBuffer], outputs: Mapping[str, AnyBuffer]
    ) -> Callable[[], None]:
        """A run of a signature on these buffers, which must outlive it; it raises EngineError.

        Buffers of other names are left alone. An input that a GPU does not read may be missing: a cache
        that is updated in place is given as an output only.
        """
        found = self.signatures[signature]
        given = [inputs[name].handle if name in inputs else None for name in found.inputs]
        made = [outputs[name].handle for name in found.outputs]
        return partial(
            self._call,
            "LiteRtRunCompiledModel",
            self.compiled,
            c_size_t(found.index),
            c_size_t(len(given)),
            (c_void_p * len(given))(*given),
            c_size_t(len(made)),
            (c_void_p * len(made))(*made),
        )

    def close(self) -> None:
        """Release it; its buffers must not be used in a run any more."""
        for kind, handle in (
            ("CompiledModel", self.compiled),
            ("Options", self._options),
            ("Model", self._model),
        ):
            self.environment.library.destroy(kind, handle)
