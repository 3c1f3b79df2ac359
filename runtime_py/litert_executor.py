"""The executor on LiteRT: the sections of a bundle, compiled, behind calls on tokens.

What it does to run as fast as the stock engine: sections are mapped, not read; buffers are allocated
once; the KV caches are the same buffers as input and output, so a step copies none of them; outputs
are read where LiteRT wrote them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from exporter import contract as names
from exporter.bundle_reader import Bundle
from exporter.contract import Accelerator, Contract, Section
from runtime_py.devices import AnyGraph, AnySignature, Devices, require_accelerator
from runtime_py.executor import Draft, Floats, Step
from runtime_py.litert_graph import Buffers, Hardware
from runtime_py.native_log import captured_native_log
from runtime_py.signature_check import FoundSignature, find_signatures, wanted_sections


@dataclass(frozen=True)
class Chunk:
    """Part of a prefill: ``tokens`` of it through a signature of ``length``."""

    length: int
    tokens: int


def prefill_chunks(tokens: int, lengths: Sequence[int]) -> Iterator[Chunk]:
    """How to prefill ``tokens`` with signatures of the given lengths; as the stock engine does it.

    The longest as often as it fills up, then once the shortest that holds the rest: 300 tokens with
    128 and 1024 are 1024 (300 used); with 32 and 128 they are 128, 128, 128 (44 used).
    """
    longest = max(lengths)
    while tokens >= longest:
        yield Chunk(longest, longest)
        tokens -= longest
    if tokens:
        yield Chunk(min(length for length in lengths if length >= tokens), tokens)


class LitertCache:
    """KV caches of one sequence: one bank of buffers, which a step reads and writes in place."""

    def __init__(self, bank: Buffers) -> None:
        self.bank = bank


class LitertExecutor:
    """Runs a bundle made by this project; an :class:`~runtime_py.executor.Executor`.

    Args:
        bundle: Its header.
        agreed: Its contract.
        hardware: Where to run.
        drafting: False leaves the drafter and ``verify``'s buffers out.

    Raises:
        BundleError: The graphs are not what the contract says, or LiteRT refuses them, or they were
            written for another accelerator.
        EngineError: There is no such device.
    """

    def __init__(
        self, bundle: Bundle, agreed: Contract, hardware: Hardware, *, drafting: bool = True
    ) -> None:
        self.contract = agreed
        require_accelerator(bundle, agreed, hardware)
        self._devices = Devices(hardware)
        self._drafting = drafting and agreed.has_drafter
        wanted = wanted_sections(agreed, drafting=self._drafting)
        found = find_signatures(bundle, wanted)
        self._graphs: dict[Section, AnyGraph] = {}
        self._signatures: dict[str, AnySignature] = {}
        self._slots: NDArray[np.int32] = np.arange(agreed.cache_length, dtype=np.int32)
        self._draft_position = -1
        try:
            with captured_native_log():
                self._load(bundle, found)
        except BaseException:
            self.close()
            raise

    def _load(self, bundle: Bundle, found: Sequence[FoundSignature]) -> None:
        caches = frozenset(self.contract.kv_specs())
        for signature in found:
            if signature.section not in self._graphs:
                graph = self._devices.graph(bundle, signature.section)
                self._graphs[signature.section] = graph
            self._signatures[signature.name] = self._graphs[signature.section].signature(
                signature.in_file, signature.spec, caches
            )

    @property
    def cache_length(self) -> int:
        return self.contract.cache_length

    @property
    def draft_length(self) -> int:
        return self.contract.draft_length if self._drafting else 0

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
            self._devices.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def new_cache(self) -> LitertCache:
        """A zeroed cache."""
        with captured_native_log():
            graph = self._graphs[Section.PREFILL_DECODE]
            specs = self.contract.kv_specs().items()
            return LitertCache(
                {name: graph.cache_buffer(names.DECODE, name, spec) for name, spec in specs}
            )

    def embed(self, token: int) -> Floats:
        """The scaled embedding ``[H]`` of a token; valid until the next call."""
        return self._look_up(names.EMBED, names.EMBEDDINGS, token)

    def embed_per_layer(self, token: int) -> Floats:
        """The scaled per-layer embeddings ``[L, P]`` of a token; valid until the next call."""
        return self._look_up(names.EMBED_PER_LAYER, names.PER_LAYER_EMBEDDINGS, token)

    def _look_up(self, name: str, output: str, token: int) -> Floats:
        lookup = self._signatures[name]
        lookup.write(names.TOKEN_IDS, np.array([[token]], dtype=np.int32))
        lookup.run()
        row: Floats = lookup.output(output)[0, 0]
        return row

    def prefill(self, cache: LitertCache, tokens: Sequence[int], position: int) -> None:
        """Write ``tokens`` to the slots from ``position`` on.

        The last chunk is padded: position 0 and a mask row of false for each token that is not
        there. The graph takes care that a chunk sticking out past the end damages nothing.
        """
        done = 0
        for chunk in prefill_chunks(len(tokens), self.contract.prefill_lengths):
            name = f"{names.PREFILL_PREFIX}{chunk.length}"
            part = tokens[done : done + chunk.tokens]
            self._run_target(name, cache, part, position + done, chunk.length)
            done += chunk.tokens

    def decode(self, cache: LitertCache, token: int, position: int) -> Step:
        """One token through the target."""
        return self._step(names.DECODE, cache, [token], position, 1)

    def verify(self, cache: LitertCache, tokens: Sequence[int], position: int) -> Step:
        """Up to G + 1 tokens through the target; fewer are padded to the signature's fixed length."""
        length = self.contract.draft_length + 1
        return self._step(names.VERIFY, cache, tokens, position, length)

    def draft(self, cache: LitertCache, token: int, hidden: Floats, position: int) -> Draft:
        """One token through the drafter, over the target's caches."""
        drafter = self._signatures[names.DRAFT]
        drafter.write(names.ACTIVATIONS, np.concatenate([self.embed(token), hidden]))
        if position != self._draft_position:  # the same for all steps of a draft
            drafter.write(names.INPUT_POS, np.array([position], dtype=np.int32))
            drafter.write(names.MASK, self._slots <= position)
            self._write_params(drafter, position, 1)
            self._draft_position = position
        drafter.run(reads=cache.bank)
        return Draft(
            drafter.output(names.LOGITS)[0, 0], drafter.output(names.PROJECTED_ACTIVATIONS)[0, 0]
        )

    def _step(
        self, name: str, cache: LitertCache, tokens: Sequence[int], position: int, length: int
    ) -> Step:
        self._run_target(name, cache, tokens, position, length)
        signature, used = self._signatures[name], len(tokens)
        logits, hidden = signature.output(names.LOGITS), signature.output(names.ACTIVATIONS)
        return Step(logits[0, :used], hidden[0, :used])

    def _run_target(
        self, name: str, cache: LitertCache, tokens: Sequence[int], position: int, length: int
    ) -> None:
        """Run a signature of ``length`` tokens on ``tokens``, of which there may be fewer."""
        agreed, signature, used = self.contract, self._signatures[name], len(tokens)
        embeddings = np.zeros((length, agreed.hidden_size), dtype=np.float32)
        per_layer = np.zeros((length, agreed.layer_count, agreed.per_layer_width), dtype=np.float32)
        for row, token in enumerate(tokens):
            embeddings[row], per_layer[row] = self.embed(token), self.embed_per_layer(token)
        positions = np.zeros(length, dtype=np.int32)
        positions[:used] = np.arange(position, position + used)
        mask = np.zeros((length, agreed.cache_length), dtype=np.bool_)
        np.less_equal(self._slots, positions[:used, None], out=mask[:used])
        signature.write(names.EMBEDDINGS, embeddings)
        signature.write(names.PER_LAYER_EMBEDDINGS, per_layer)
        signature.write(names.INPUT_POS, positions)
        signature.write(names.MASK, mask)
        self._write_params(signature, position, used)
        signature.run(cache.bank, cache.bank)

    def _write_params(self, signature: AnySignature, start: int, tokens: int) -> None:
        """Tell graphs for a GPU which slots are written and how many are then in use."""
        if self.contract.accelerator is Accelerator.GPU:
            end = start + tokens
            params = np.array([start, end, end, 0, 0, 0, 0], dtype=np.int32)
            signature.write(names.PARAM_TENSOR, params)
