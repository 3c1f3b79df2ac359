"""One graph of a bundle on LiteRT's GPU delegate.

Caches stay on the device, in place: a run is given them as outputs, and as inputs only where the
graph does not write them (the drafter's). So there is one bank, and none that could be stale.
"""

from __future__ import annotations

import numpy as np

from exporter.contract.names import KEY_CACHE_PREFIX, SignatureSpec
from exporter.errors import BundleError, EngineError
from runtime_py.litert.c_api import Array
from runtime_py.litert.gpu.cache import CacheBuffer
from runtime_py.litert.gpu.device import MISSING, is_missing
from runtime_py.litert.graph import Graph, LitertCache
from runtime_py.litert.native_log import NativeLog


class GpuGraph(Graph):
    """A graph on the GPU, which must run every node of it."""

    def refusal(self, error: EngineError, log: NativeLog) -> BundleError | EngineError:
        if is_missing(log.text):
            return EngineError(MISSING)
        return BundleError(
            f"{self.where}: expected a graph that the GPU's delegate runs as a whole, and LiteRT refuses "
            f"it ({error}){log.last_errors()}"
        )

    def signature(self, name: str, spec: SignatureSpec, caches: frozenset[str]) -> GpuSignature:
        return GpuSignature(self, name, spec, caches)

    def cache_buffer(self, signature: str, name: str) -> CacheBuffer:
        buffer = self.model.output_buffer(signature, name)
        buffer.clear()
        return CacheBuffer(buffer, of_keys=name.startswith(KEY_CACHE_PREFIX))


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

    def run(self, cache: LitertCache | None = None) -> None:
        """Run on the inputs written; caches that are written are updated in place.

        Raises:
            EngineError: LiteRT failed.
        """
        inputs, outputs = dict(self._inputs), dict(self._outputs)
        if cache is not None:
            on_device = {name: found.device for name, found in cache.buffers.items()}
            (outputs if self._updates_caches else inputs).update(on_device)
        for buffer in outputs.values():
            buffer.forget_event()
        try:
            self._graph.model.call(self._name, inputs, outputs)()
        except EngineError as error:
            raise self._graph.failed(error) from error

    def output(self, name: str) -> Array:
        """An output of the last run, in its shape."""
        values: Array = self._outputs[name].read().astype(np.float32, copy=False)
        return values
