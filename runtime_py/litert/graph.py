"""One graph of a bundle, compiled by LiteRT; those for the CPU with their buffers.

Inputs and outputs are arrays that LiteRT reads and writes in place, allocated once. KV caches are apart:
they belong to a sequence and are passed to each run. For the GPU see ``gpu.graph``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from exporter.bundle.reader import Bundle
from exporter.contract import SignatureSpec
from exporter.errors import BundleError, EngineError
from runtime_py.litert.c_api import AnyBuffer, Array, Environment, HostBuffer
from runtime_py.litert.compiled_model import CompiledModel, CompileOptions
from runtime_py.litert.graph_parts import GraphParts
from runtime_py.litert.mapped_section import MappedSection
from runtime_py.litert.native_log import NativeLog, captured_native_log
from runtime_py.litert.resized_graph import Resizing

Buffers = Mapping[str, Any]
"""KV caches by name, as buffers of the graph that reads them."""


class Graph(ABC):
    """A compiled graph, its caches resized if so wanted; close it when no signature is in use.

    Raises:
        BundleError: LiteRT refuses the graph; the message ends with LiteRT's own words.
        EngineError: There is no such device.
    """

    def __init__(
        self,
        bundle: Bundle,
        parts: GraphParts,
        environment: Environment,
        options: CompileOptions,
        resizing: Resizing | None = None,
    ) -> None:
        self.where = f"{bundle.path}: {parts.name}"
        section = MappedSection(bundle.path, *parts.regions)
        if resizing is not None:
            section.edit(parts.graph_bytes, resizing.apply)
        self.mapped = section.mapped
        """Whether the weights are mapped from the file rather than read into memory."""
        log = NativeLog()
        try:
            with captured_native_log() as log:
                self.model = CompiledModel(environment, section.content, options)
        except EngineError as error:
            raise self.refusal(error, log) from error

    @abstractmethod
    def refusal(self, error: EngineError, log: NativeLog) -> BundleError | EngineError:
        """What to say when LiteRT does not compile the graph."""

    @abstractmethod
    def signature(self, name: str, spec: SignatureSpec, caches: frozenset[str]) -> Any:
        """One signature, ready to run.

        Args:
            name: Its name in the file.
            spec: What the contract says of it.
            caches: Names of its KV caches, which are passed to each run.
        """

    @abstractmethod
    def cache_buffer(self, signature: str, name: str) -> Any:
        """A zeroed cache that ``signature`` reads and writes."""

    def run(
        self, signature: str, inputs: Mapping[str, AnyBuffer], outputs: Mapping[str, AnyBuffer]
    ) -> None:
        """Run a signature.

        Raises:
            EngineError: LiteRT failed.
        """
        try:
            self.model.run(signature, inputs, outputs)
        except EngineError as error:
            raise EngineError(f"{self.where}: {error}") from error

    def close(self) -> None:
        """Release the model."""
        self.model.close()


class CpuGraph(Graph):
    """A graph on the CPU."""

    def refusal(self, error: EngineError, log: NativeLog) -> BundleError | EngineError:
        return BundleError(
            f"{self.where}: LiteRT cannot load this section ({error}){log.last_errors()}"
        )

    def signature(self, name: str, spec: SignatureSpec, caches: frozenset[str]) -> CpuSignature:
        return CpuSignature(self, name, caches)

    def cache_buffer(self, signature: str, name: str) -> HostBuffer:
        tensor = self.model.signatures[signature].inputs[name]
        return HostBuffer(self.model.environment, tensor)


class CpuSignature:
    """One signature with its input and output buffers, KV caches apart."""

    def __init__(self, graph: CpuGraph, name: str, caches: frozenset[str]) -> None:
        self._graph, self._name = graph, name
        tensors, environment = graph.model.signatures[name], graph.model.environment
        self._inputs, self._outputs = (
            {key: HostBuffer(environment, side[key]) for key in side if key not in caches}
            for side in (tensors.inputs, tensors.outputs)
        )

    def write(self, name: str, values: Array) -> None:
        """Set an input; ``values`` has its number of elements.

        Raises:
            EngineError: It has another.
        """
        buffer = self._inputs[name].values
        if values.size != buffer.size:
            raise EngineError(
                f"{self._graph.where}: {name} takes {buffer.size} values, found {values.size}"
            )
        buffer[...] = values.reshape(buffer.shape)

    def run(self, reads: Buffers | None = None, writes: Buffers | None = None) -> None:
        """Run on the inputs written, over caches to read and caches to write (may be the same).

        Raises:
            EngineError: LiteRT failed.
        """
        inputs, outputs = {**self._inputs, **(reads or {})}, {**self._outputs, **(writes or {})}
        self._graph.run(self._name, inputs, outputs)

    def output(self, name: str) -> Array:
        """An output of the last run, in its shape; valid until the next one."""
        return self._outputs[name].values
