"""The executor on LiteRT: the sections of a bundle, compiled, behind calls on tokens.

What it does to run as fast as the stock engine: sections are mapped, not read; buffers are allocated
once; the KV caches are the same buffers as input and output, so a step copies none of them (CPU; on
GPU two banks take turns); outputs are read where LiteRT wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert.environment import Environment

from exporter import contract as names
from exporter.bundle_reader import Bundle
from exporter.contract import Contract, Section
from runtime_py.executor import Floats
from runtime_py.graph_executor import GraphExecutor
from runtime_py.litert_graph import Buffers, Graph, Hardware, Signature
from runtime_py.native_log import captured_native_log
from runtime_py.resized_graph import Resizing
from runtime_py.signature_check import FoundSignature, find_signatures, wanted_sections


class LitertCache:
    """KV caches of one sequence: one bank of buffers, or two that take turns."""

    def __init__(self, reads: Buffers, writes: Buffers) -> None:
        self.reads, self.writes = reads, writes

    def written(self) -> None:
        """What was written is read next."""
        self.reads, self.writes = self.writes, self.reads


class LitertExecutor(GraphExecutor[LitertCache]):
    """Runs a bundle made by this project; an :class:`~runtime_py.executor.Executor`.

    Args:
        bundle: Its header.
        agreed: Its contract, with the cache length to use.
        hardware: Where to run.
        drafting: False leaves the drafter and ``verify``'s buffers out.

    Raises:
        BundleError: The graphs are not what the contract says, or LiteRT refuses them.
    """

    def __init__(
        self, bundle: Bundle, agreed: Contract, hardware: Hardware, *, drafting: bool = True
    ) -> None:
        super().__init__(agreed, drafting=drafting)
        self.bundle = bundle
        self.hardware = hardware
        wanted = wanted_sections(agreed.as_lowered(), drafting=self._drafting)
        found = find_signatures(bundle, wanted)
        self._graphs: dict[Section, Graph] = {}
        self._signatures: dict[str, Signature] = {}
        try:
            with captured_native_log():
                self._load(bundle, found)
        except BaseException:
            self.close()
            raise

    def _load(self, bundle: Bundle, found: Sequence[FoundSignature]) -> None:
        agreed, environment = self.contract, Environment.create()
        caches = frozenset(agreed.kv_specs())
        resizing = Resizing(agreed.placeholder, agreed.cache_length) if agreed.placeholder else None
        for signature in found:
            if signature.section not in self._graphs:
                graph = Graph(bundle, signature.section, environment, self.hardware, resizing)
                self._graphs[signature.section] = graph
            self._signatures[signature.name] = Signature(
                self._graphs[signature.section], signature.in_file, signature.spec, caches
            )

    @property
    def signatures(self) -> Mapping[str, Signature]:
        return self._signatures

    def run(self, name: str, cache: LitertCache | None, *, writes: bool = False) -> None:
        signature = self._signatures[name]
        if cache is None:
            signature.run()
        elif not writes:
            signature.run(reads=cache.reads)
        else:
            signature.run(cache.reads, cache.writes)
            cache.written()

    def graph(self, section: Section) -> Graph:
        """A compiled section, for whoever runs more of its signatures."""
        return self._graphs[section]

    @property
    def mapped(self) -> bool:
        """Whether the weights are mapped from the file rather than read into memory."""
        return all(graph.mapped for graph in self._graphs.values())

    def close(self) -> None:
        """Release LiteRT's models and the mapped file; caches made here must not be used again."""
        self._signatures = {}
        with captured_native_log():
            for graph in self._graphs.values():
                graph.close()

    def new_cache(self) -> LitertCache:
        """A zeroed cache."""
        with captured_native_log():
            bank = self._bank()
            return LitertCache(bank, bank if self.hardware.on_cpu else self._bank())

    def read_cache(self, cache: LitertCache) -> dict[str, Floats]:
        """A copy of what will be read next."""
        found = {}
        for name, spec in self.contract.kv_specs().items():
            values = cache.reads[name].read(int(np.prod(spec.shape)), np.float32)
            found[name] = np.array(values, np.float32).reshape(spec.shape)
        return found

    def _bank(self) -> dict[str, Any]:
        model = self._graphs[Section.PREFILL_DECODE].model
        bank = {}
        details = model.get_input_tensor_details(names.DECODE)
        for name, spec in self.contract.kv_specs().items():
            bank[name] = model.create_input_buffer_by_name(names.DECODE, name)
            bank[name].write(np.zeros(spec.shape, dtype=np.dtype(details[name]["dtype"])))
        return bank
