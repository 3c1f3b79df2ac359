"""One signature as ONNX Runtime runs it, with its buffers allocated once.

Inputs and outputs are numpy arrays that ONNX Runtime reads and writes in place. KV caches belong to a
sequence: an array that is bound as input and as output, so that the scatter that writes a few slots
writes them where they are and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from exporter.bundle.onnx_names import SLOTS, as_onnx, output_name
from exporter.contract.names import Dtype, SignatureSpec, Specs, TensorSpec
from exporter.errors import BundleError, EngineError, listed

ELEMENTS = {
    Dtype.FLOAT32: "tensor(float)",
    Dtype.INT32: "tensor(int32)",
    Dtype.BOOL: "tensor(bool)",
}
"""ONNX Runtime's names of the contract's types."""

ERRORS_ONLY = 3
"""Severity from which ONNX Runtime writes to stderr; its errors are raised as well."""

CPU = ("CPUExecutionProvider",)

Array = NDArray[Any]


@dataclass(frozen=True)
class OnnxSettings:
    """How signatures are run: slots of a cache, and threads; None leaves them to ONNX Runtime."""

    cache_length: int
    threads: int | None = None


def session_options(settings: OnnxSettings) -> ort.SessionOptions:
    """For one signature.

    Where the length of the caches is open, it becomes this one before anything is optimised.
    Each session has threads of its own. They must not go on spinning after a run, in the way of the
    next signature's.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads or 0
    options.log_severity_level = ERRORS_ONLY
    options.add_free_dimension_override_by_name(SLOTS, settings.cache_length)
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def zeros(spec: TensorSpec) -> Array:
    """Memory for a tensor."""
    return np.zeros(spec.shape, dtype=np.dtype(spec.dtype.value))


class OnnxCache:
    """KV caches of one sequence, by the contract's names."""

    def __init__(self, specs: Specs) -> None:
        self.arrays: dict[str, Array] = {name: zeros(spec) for name, spec in specs.items()}
        self.values = {name: on_array(array) for name, array in self.arrays.items()}
        self.bindings: dict[str, Any] = {}
        """What a signature reads and writes when it runs on these caches, by its name."""


class OnnxSignature:
    """One model of a folder.

    Args:
        path: The model.
        name: The signature's name.
        spec: What the contract says of it.
        caches: Names of the KV caches, which are passed to each run.
        settings: How to run it.

    Raises:
        BundleError: ONNX Runtime refuses the model, or it is not what the contract says.
    """

    def __init__(
        self, path: Path, name: str, spec: SignatureSpec, caches: Specs, settings: OnnxSettings
    ) -> None:
        self.name, self._where, self._spec = name, str(path), spec
        try:
            options = session_options(settings)
            self._session: Any = ort.InferenceSession(str(path), options, providers=list(CPU))
        except Exception as error:  # ONNX Runtime's own types, one for each of its status codes
            reason = str(error).splitlines()[0]
            raise BundleError(f"{path}: ONNX Runtime cannot load this model ({reason})") from error
        if problems := list(self._differences()):
            raise BundleError(
                f"{path}: the model does not keep the contract: {listed(problems)}; export it again"
            )
        self._read = [cache for cache in caches if cache in spec.inputs]
        self._written = [cache for cache in caches if cache in spec.outputs]
        self._inputs = {n: zeros(s) for n, s in spec.inputs.items() if n not in caches}
        self._outputs = {n: zeros(s) for n, s in spec.outputs.items() if n not in caches}
        self._alone = None if self._read else self._bind(None)

    def write(self, name: str, values: Array) -> None:
        """Set an input; ``values`` has its type and number of elements."""
        self._inputs[name][...] = values.reshape(self._inputs[name].shape)

    def output(self, name: str) -> Array:
        """An output of the last run, in its shape; valid until the next one."""
        return self._outputs[name]

    def run(self, cache: OnnxCache | None = None) -> None:
        """Run on the inputs written, over the caches of a sequence.

        Raises:
            EngineError: ONNX Runtime failed.
        """
        binding = self._alone if cache is None else cache.bindings.get(self.name)
        if binding is None:
            assert cache is not None
            binding = cache.bindings[self.name] = self._bind(cache)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # ONNX Runtime's own types, one for each of its status codes
            raise EngineError(f"{self._where}: ONNX Runtime failed: {error}") from error

    def _bind(self, cache: OnnxCache | None) -> Any:
        """Every input and output where its memory is; the binding keeps that memory alive."""
        binding = self._session.io_binding()
        for name, array in self._inputs.items():
            binding.bind_ortvalue_input(name, on_array(array))
        for name, array in self._outputs.items():
            binding.bind_ortvalue_output(name, on_array(array))
        if cache is not None:
            for name in self._read:
                binding.bind_ortvalue_input(name, cache.values[name])
            for name in self._written:
                new = output_name(name, self._spec.inputs)
                binding.bind_ortvalue_output(new, cache.values[name])
        return binding

    def _differences(self) -> Iterator[str]:
        wanted, session = as_onnx(self._spec), self._session
        for side, specs, found in (
            ("input", wanted.inputs, session.get_inputs()),
            ("output", wanted.outputs, session.get_outputs()),
        ):
            have = {entry.name: (entry.type, tuple(entry.shape)) for entry in found}
            expected = {name: (ELEMENTS[spec.dtype], spec.shape) for name, spec in specs.items()}
            for name in sorted(expected.keys() | have.keys()):
                if have.get(name) != expected.get(name):
                    yield f"{side} {name} is {have.get(name)}, expected {expected.get(name)}"


def on_array(array: Array) -> Any:
    """A value of ONNX Runtime that is this memory."""
    return ort.OrtValue.ortvalue_from_numpy(array)
