"""The executor on LiteRT: the sections of a bundle, compiled, behind calls on tokens.

What it does to run as fast as the stock engine: sections are mapped, not read; buffers are allocated
once; the KV caches are the same buffers as input and output, so a step copies none of them; outputs
are read where LiteRT wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from exporter.bundle.reader import Bundle
from exporter.bundle.signature_check import (
    FoundSignature,
    find_draft_round,
    find_signatures,
    wanted_sections,
)
from exporter.contract import names
from exporter.contract.names import Section
from exporter.contract.text import Contract
from runtime_py.graph_executor import GraphExecutor
from runtime_py.litert.c_api import Array
from runtime_py.litert.graph import (
    Graph,
    GraphParts,
    LitertCache,
    draft_round_parts,
    section_parts,
)
from runtime_py.litert.hardware import Devices, Hardware, require_accelerator
from runtime_py.litert.native_log import captured_native_log
from runtime_py.litert.resized_graph import Resizing


class LitertExecutor(GraphExecutor[LitertCache]):
    """Runs a bundle made by this project; an :class:`~runtime_py.loop.executor.Executor`.

    Args:
        bundle: Its header.
        agreed: Its contract, with the cache length to use.
        hardware: Where to run.
        drafting: False leaves the drafter and ``verify``'s buffers out.

    Raises:
        BundleError: The graphs are not what the contract says, or LiteRT refuses them, or they were
            written for another accelerator.
        EngineError: There is no such device.
        OutputError: There can be no folder for packed weights.
    """

    def __init__(
        self, bundle: Bundle, agreed: Contract, hardware: Hardware, *, drafting: bool = True
    ) -> None:
        super().__init__(agreed, drafting=drafting)
        require_accelerator(bundle, agreed, hardware)
        self.bundle = bundle
        self._devices = Devices(hardware)
        wanted = wanted_sections(agreed.as_lowered(), drafting=self._drafting)
        found = find_signatures(bundle, wanted)
        parts = {section: section_parts(bundle, section) for section in wanted}
        if self._drafting and hardware.on_cpu:
            found = self._with_draft_round(found, parts)
        self.graphs: dict[Section, Graph] = {}
        try:
            with captured_native_log():
                self._load(found, parts)
        except BaseException:
            self.close()
            raise

    def _with_draft_round(
        self, found: list[FoundSignature], parts: dict[Section, GraphParts]
    ) -> list[FoundSignature]:
        """Put the graph of a draft round in the drafter's place, if there is one to run."""
        spec = find_draft_round(self.bundle, self.contract.as_lowered())
        if spec is None:
            return found
        parts[Section.MTP_DRAFTER] = draft_round_parts(self.bundle)
        renamed = [
            replace(one, in_file=one.name) if one.section is Section.MTP_DRAFTER else one
            for one in found
        ]
        name = names.DRAFT_ROUND
        return [*renamed, FoundSignature(Section.MTP_DRAFTER, name, name, spec)]

    def _load(self, found: Sequence[FoundSignature], parts: Mapping[Section, GraphParts]) -> None:
        caches, resizing = frozenset(self.contract.kv_specs()), Resizing.of(self.contract)
        for section, graph in parts.items():
            self.graphs[section] = self._devices.graph(self.bundle, section, graph, resizing)
        for signature in found:
            self.signatures[signature.name] = self.graphs[signature.section].signature(
                signature.in_file, signature.spec, caches
            )

    @property
    def mapped(self) -> bool:
        """Whether the weights are mapped from the file rather than read into memory."""
        return all(graph.mapped for graph in self.graphs.values())

    def close(self) -> None:
        """Release LiteRT's models; caches made here must not be used again."""
        self.signatures = {}
        with captured_native_log():
            for graph in self.graphs.values():
                graph.close()
            self._devices.close()

    def new_cache(self) -> LitertCache:
        """A zeroed cache."""
        with captured_native_log():
            graph = self.graphs[Section.PREFILL_DECODE]
            kv_names = self.contract.kv_specs()
            return LitertCache({name: graph.cache_buffer(names.DECODE, name) for name in kv_names})

    def read_cache(self, cache: LitertCache) -> dict[str, Array]:
        """A copy of what will be read next: floats or int8 codes, as the contract says."""
        return {name: buffer.read() for name, buffer in cache.buffers.items()}
