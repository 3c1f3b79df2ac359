"""One graph of a bundle, compiled by LiteRT; those for the CPU with their buffers.

A model section is a graph. That of a draft round has its weights in two other sections, which must stand
behind it; see ``exporter.bundle.layout``.

Inputs and outputs are arrays that LiteRT reads and writes in place, allocated once. KV caches are apart:
they belong to a sequence and are passed to each run. For the GPU see ``gpu.graph``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from exporter.bundle.layout import DRAFT_ROUND_SECTIONS, side_by_side
from exporter.bundle.reader import Bundle, BundleSection
from exporter.contract.names import DRAFT_ROUND, Section, SignatureSpec
from exporter.errors import BundleError, EngineError
from runtime_py.litert.c_api import Array, Environment, HostBuffer
from runtime_py.litert.compiled_model import CompiledModel, CompileOptions
from runtime_py.litert.mapped_section import FileRegion, MappedSection
from runtime_py.litert.native_log import NativeLog, captured_native_log
from runtime_py.litert.resized_graph import Resizing


class LitertCache:
    """KV caches of one sequence: buffers by name, which a run reads and writes in place."""

    def __init__(self, buffers: Mapping[str, Any]) -> None:
        self.buffers = buffers
        self.calls: dict[CpuSignature, Callable[[], None]] = {}
        """How a signature runs on these caches; made when it first does."""


@dataclass(frozen=True)
class GraphParts:
    """The regions, side by side; ``name`` is for messages and for the file of a weight cache."""

    name: str
    graph_bytes: int
    """Of the first region: the graph itself, without weights behind it."""
    regions: tuple[FileRegion, ...]
    sections: tuple[BundleSection, ...]
    """Where the regions are from."""


def section_parts(bundle: Bundle, section: Section) -> GraphParts:
    """A model section, which the bundle must have."""
    entry = bundle.model(section)
    assert entry is not None
    return GraphParts(section.value, entry.graph_bytes, (_region(entry, 0),), (entry,))


def draft_round_parts(bundle: Bundle) -> GraphParts:
    """The graph of a draft round, which the bundle must have, and the sections that it was made for."""
    entry = bundle.draft_round
    assert entry is not None
    read = [found for section in DRAFT_ROUND_SECTIONS if (found := bundle.model(section))]
    starts = side_by_side(entry.nbytes, [found.nbytes for found in read])
    behind = (_region(found, start) for found, start in zip(read, starts, strict=True))
    return GraphParts(DRAFT_ROUND, entry.nbytes, (_region(entry, 0), *behind), (entry, *read))


def _region(entry: BundleSection, at: int) -> FileRegion:
    return FileRegion(entry.begin, entry.nbytes, at)


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
            section.edit(parts.graph_bytes, lambda graph: resizing.apply(graph, self.where))
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

    def failed(self, error: EngineError) -> EngineError:
        """What to say when LiteRT does not run the graph."""
        return EngineError(f"{self.where}: {error}")

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
        self._alone: dict[CpuSignature, Callable[[], None]] = {}
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

    def run(self, cache: LitertCache | None = None) -> None:
        """Run on the inputs written, over the caches of a sequence.

        Raises:
            EngineError: LiteRT failed.
        """
        calls = self._alone if cache is None else cache.calls
        if self not in calls:
            caches = {} if cache is None else cache.buffers
            inputs, outputs = {**self._inputs, **caches}, {**self._outputs, **caches}
            calls[self] = self._graph.model.call(self._name, inputs, outputs)
        try:
            calls[self]()
        except EngineError as error:
            raise self._graph.failed(error) from error

    def output(self, name: str) -> Array:
        """An output of the last run, in its shape; valid until the next one."""
        return self._outputs[name].values
