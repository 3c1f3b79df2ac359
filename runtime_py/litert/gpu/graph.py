"""One model section of a bundle on LiteRT's GPU delegate; the counterpart of ``litert_graph``.

Caches stay on the device, in place: a run is given them as outputs, and as inputs only where the
graph does not write them (the drafter's). So there is one bank, and none that could be stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.bundle.reader import Bundle
from exporter.contract import KEY_CACHE_PREFIX, SignatureSpec, TensorSpec
from exporter.errors import BundleError, EngineError
from runtime_py.litert.gpu.cache import CacheBuffer
from runtime_py.litert.gpu.device import MISSING, is_missing
from runtime_py.litert.gpu.litert_c import Buffer, CompiledModel, Environment, Region
from runtime_py.litert.graph_parts import GraphParts
from runtime_py.litert.mapped_section import MappedSection
from runtime_py.litert.native_log import NativeLog, captured_native_log

Array = NDArray[Any]

OPTIONS = """\
external_tensors_mode = false
external_tensor_patterns = ["kv_cache_", "param_tensor"]
buffer_storage_tensor_patterns = ["kv_cache_", "param_tensor"]
enable_constant_tensors_sharing = true
enable_infinite_float_capping = true
precision = {precision}
"""
"""What the stock engine sets. The patterns name the tensors that stay on the device in its layout.
Without sharing, the delegate folds the final norm into the head and ``activations`` is never made.
Source: LiteRT-LM's ``CreateCompilationOptions``."""

FLOAT16, FLOAT32 = 1, 2  # kLiteRtDelegatePrecisionFp16, ...Fp32


class GpuGraph:
    """A compiled section; close it when its signatures are no longer used.

    Raises:
        BundleError: LiteRT refuses the section: the GPU must run every node of it.
        EngineError: There is no device, or the engine's library is missing.
    """

    def __init__(
        self, bundle: Bundle, parts: GraphParts, environment: Environment, *, float16: bool
    ) -> None:
        self.where = f"{bundle.path}: {parts.name}"
        self._section = MappedSection(bundle.path, *parts.regions)
        options = OPTIONS.format(precision=FLOAT16 if float16 else FLOAT32)
        try:
            self.model = self._compiled(environment, options)
        except BaseException:
            self._section.close()
            raise

    def _compiled(self, environment: Environment, options: str) -> CompiledModel:
        log = NativeLog()
        try:
            with captured_native_log() as log:
                return CompiledModel(environment, self._section.use(Region.of), options)
        except EngineError as error:
            raise _refusal(self.where, error, log) from error

    @property
    def mapped(self) -> bool:
        """Whether the weights are mapped from the file."""
        return self._section.mapped

    def signature(self, name: str, spec: SignatureSpec, caches: frozenset[str]) -> GpuSignature:
        """One signature, ready to run; arguments as for ``litert_graph.Signature``."""
        return GpuSignature(self, name, spec, caches)

    def cache_buffer(self, signature: str, name: str, spec: TensorSpec) -> CacheBuffer:
        """A zeroed cache that ``signature`` writes."""
        buffer = self.model.output_buffer(signature, name)
        assert buffer.tensor.shape == spec.shape
        buffer.clear()
        return CacheBuffer(buffer, of_keys=name.startswith(KEY_CACHE_PREFIX))

    def close(self) -> None:
        """Release the model, then its bytes."""
        self.model.close()
        self._section.close()


class GpuSignature:
    """One signature with its input and output buffers on the device."""

    def __init__(
        self, graph: GpuGraph, name: str, spec: SignatureSpec, caches: frozenset[str]
    ) -> None:
        self._graph, self._name = graph, name
        model = graph.model
        tensors = model.signatures[name]
        self._updates_caches = bool(caches & tensors.outputs.keys())
        self._inputs = {
            key: model.input_buffer(name, key) for key in tensors.inputs if key not in caches
        }
        self._outputs = {
            key: model.output_buffer(name, key) for key in tensors.outputs if key not in caches
        }
        assert self._outputs.keys() <= spec.outputs.keys()

    def write(self, name: str, values: Array) -> None:
        """Set an input; ``values`` has its number of elements.

        Raises:
            EngineError: LiteRT failed.
        """
        self._inputs[name].write(values)

    def run(
        self,
        reads: Mapping[str, CacheBuffer] | None = None,
        writes: Mapping[str, CacheBuffer] | None = None,
    ) -> None:
        """Run on the inputs written; caches that are written are updated in place.

        Raises:
            EngineError: LiteRT failed.
        """
        inputs, outputs = dict(self._inputs), dict(self._outputs)
        if self._updates_caches:
            outputs |= _device(writes)
        else:
            inputs |= _device(reads)
        try:
            self._graph.model.run(self._name, inputs, outputs)
        except EngineError as error:
            raise EngineError(f"{self._graph.where}: {error}") from error

    def output(self, name: str) -> Array:
        """An output of the last run, in its shape."""
        values: Array = self._outputs[name].read().astype(np.float32, copy=False)
        return values


def _device(caches: Mapping[str, CacheBuffer] | None) -> dict[str, Buffer]:
    return {name: cache.device for name, cache in (caches or {}).items()}


def _refusal(where: str, error: EngineError, log: NativeLog) -> BundleError | EngineError:
    if is_missing(log.text):
        return EngineError(MISSING)
    return BundleError(
        f"{where}: expected a graph that the GPU's delegate runs as a whole, and LiteRT refuses it "
        f"({error}){log.last_errors()}"
    )
