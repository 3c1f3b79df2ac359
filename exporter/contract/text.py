"""What the engine asks of a text model and its drafter: the shapes and types of every signature.

Axes: B batch, T tokens, S cache slots, L layers, H hidden, N heads, K kv heads, D head dim,
P per-layer embedding width, V vocabulary, G drafts per round.

S can be left to whoever loads a bundle: its graphs then have a prime, the placeholder, in its place.
The engine replaces every multiple of it in tensor shapes and in the shapes that operations take as
parameters by the length it was asked for (``max_num_tokens``), which must be below the prime; the
reference runtime does the same. Source: LiteRT's ``magic_number_utils.cc``.

The exporter builds graphs from a :class:`Contract`, the bundle's manifest stores it, and ``inspect``
and the runtimes read it back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass

from exporter.contract.caches import (
    KvCache,
    Ring,
    stated,
    stretch_length,
    usable_lengths,
)
from exporter.contract.names import (
    ACTIVATIONS,
    BATCH_DECODE,
    BATCH_DRAFT,
    BATCH_VERIFY,
    DECODE,
    DRAFT,
    EMBED,
    EMBED_PER_LAYER,
    EMBEDDINGS,
    INPUT_POS,
    LOGITS,
    MASK,
    PARAM_TENSOR,
    PER_LAYER_EMBEDDINGS,
    PREFILL_PREFIX,
    PROJECTED_ACTIVATIONS,
    TOKEN_IDS,
    TOKENS,
    VERIFY,
    Accelerator,
    Dtype,
    Section,
    SignatureSpec,
    TensorSpec,
    held_positions,
    key_cache,
    value_cache,
)


@dataclass(frozen=True)
class Contract:
    """Everything that target and drafter agree on; enough to allocate every buffer.

    ``cache_length`` is S. With a ``placeholder`` it is what S becomes where nobody asks for another
    length; without one (None) it is what the graphs were made for.
    ``drafter_donors`` lists the layers whose caches the drafter reads (sliding, then full); it is
    empty in a bundle without a drafter, and ``draft_length`` is then 0. ``batch`` is how many sequences
    the batch signatures take at once; with 1 there are none. ``kv_dtype`` is the element type of the
    caches: float32, or int8 codes whose scales are constants of the graphs. With a ``ring`` the caches
    of sliding layers have its slots whatever S is, and one more tensor says which token each slot holds.
    """

    hidden_size: int
    layer_count: int
    per_layer_width: int
    vocab_size: int
    sliding_window: int
    cache_length: int
    placeholder: int | None
    prefill_lengths: tuple[int, ...]
    draft_length: int
    kv_caches: tuple[KvCache, ...]
    drafter_donors: tuple[int, ...]
    batch: int = 1
    accelerator: Accelerator = Accelerator.CPU
    kv_dtype: Dtype = Dtype.FLOAT32
    ring: Ring | None = None

    @property
    def has_drafter(self) -> bool:
        return bool(self.drafter_donors)

    def earliest_return(self, written: int) -> int:
        """The first slot that a sequence can be gone on from once ``written`` slots were; slot 0 always can.

        A ring holds the last tokens of a turn; the drafter sees the window and one more.
        """
        if self.ring is None or written <= self.ring.turn:
            return 0
        return written - self.ring.turn + self.sliding_window + 1

    @property
    def sliding_layers(self) -> frozenset[int]:
        """Owners of caches of sliding attention."""
        return frozenset(kv.layer for kv in self.kv_caches if kv.sliding)

    def as_lowered(self) -> Contract:
        """The contract with the S that is in the graphs."""
        return dataclasses.replace(self, cache_length=self.placeholder or self.cache_length)

    def resized(self, cache_length: int) -> Contract:
        """The contract of this bundle loaded with another length.

        Without the prefill signatures that are too long for it; the shortest one always stays.

        Raises:
            ValueError: The length is fixed, or none that the graphs can do.
        """
        allowed = self.cache_lengths
        if not any(cache_length in lengths for lengths in allowed):
            fixed = ", fixed" if self.placeholder is None else ""
            said = f"this bundle allows {stated(allowed)}{fixed}"
            raise ValueError(f"a cache of {cache_length} slots; {said}")
        shortest = min(self.prefill_lengths)
        short = tuple(t for t in self.prefill_lengths if t < cache_length or t == shortest)
        lengths = self.prefill_lengths if self.placeholder is None else short
        return dataclasses.replace(self, cache_length=cache_length, prefill_lengths=lengths)

    @property
    def cache_lengths(self) -> tuple[range, ...]:
        """Values of S these graphs can be loaded with.

        Every stretch of slots they cut must fit.
        """
        if self.placeholder is None:
            return (range(self.cache_length, self.cache_length + 1),)
        return usable_lengths(self.prefill_lengths, self._slots_for, self.longest_cache)

    @property
    def shortest_cache(self) -> int:
        """The least S with which every signature can be used."""
        if self.placeholder is None:
            return self.cache_length
        return self._slots_for(max(self.prefill_lengths))

    def _slots_for(self, prefill: int) -> int:
        """The longest stretch of slots that is cut, with no longer prefill than this."""
        if self.ring is not None:  # nothing is cut but what a prefill writes to the full layers
            return max(prefill, self.draft_length + 1)
        drafter = stretch_length(self.sliding_window + 1, 1) if self.has_drafter else 0
        longest_call = max(prefill, self.draft_length + 1)
        return max(stretch_length(self.sliding_window, longest_call), drafter)

    @property
    def longest_cache(self) -> int:
        """The greatest S these graphs can be loaded with."""
        return self.cache_length if self.placeholder is None else self.placeholder - 1

    def kv_specs(
        self, layers: Collection[int] | None = None, sequence: int | None = None
    ) -> dict[str, TensorSpec]:
        """Cache tensors of one sequence, of all owners or only of ``layers``."""
        specs = {}
        wanted = [kv for kv in self.kv_caches if layers is None or kv.layer in layers]
        for kv in wanted:
            slots = self.slots(kv)
            specs[key_cache(kv.layer, sequence)] = TensorSpec(
                (1, kv.kv_heads, slots, kv.head_dim), self.kv_dtype
            )
            specs[value_cache(kv.layer, sequence)] = TensorSpec(
                (1, kv.kv_heads, kv.head_dim, slots), self.kv_dtype
            )
        if self.ring is not None and any(kv.sliding for kv in wanted):
            specs[held_positions(sequence)] = TensorSpec((1, 1, 1, self.ring.slots), Dtype.INT32)
        return specs

    def slots(self, kv: KvCache) -> int:
        """How many slots a cache has."""
        return self.cache_length if self.ring is None or not kv.sliding else self.ring.slots

    def batch_kv_specs(self, layers: tuple[int, ...] | None = None) -> dict[str, TensorSpec]:
        """Cache tensors of every sequence of a batch signature: each has caches of its own."""
        specs = {}
        for sequence in range(self.batch):
            specs.update(self.kv_specs(layers, sequence))
        return specs

    def _parameters(self) -> dict[str, TensorSpec]:
        """What graphs for a GPU take besides."""
        if self.accelerator is Accelerator.CPU:
            return {}
        return {PARAM_TENSOR: TensorSpec((1, 1, 1, 7), Dtype.INT32)}

    def target_signatures(self) -> dict[str, SignatureSpec]:
        """``prefill_<T>`` for every length, ``decode`` and, with a drafter, ``verify``."""
        signatures = {
            f"{PREFILL_PREFIX}{tokens}": self._step(tokens, results=False)
            for tokens in self.prefill_lengths
        }
        signatures[DECODE] = self._step(1, results=True)
        if self.has_drafter:
            signatures[VERIFY] = self._step(self.draft_length + 1, results=True)
        return signatures

    def _step(self, tokens: int, *, results: bool) -> SignatureSpec:
        inputs = {
            EMBEDDINGS: TensorSpec((1, tokens, self.hidden_size)),
            PER_LAYER_EMBEDDINGS: TensorSpec((1, tokens, self.layer_count, self.per_layer_width)),
            INPUT_POS: TensorSpec((tokens,), Dtype.INT32),
            MASK: TensorSpec((1, 1, tokens, self.cache_length), Dtype.BOOL),
            **self._parameters(),
            **self.kv_specs(),
        }
        outputs = self.kv_specs()
        if results:
            outputs[LOGITS] = TensorSpec((1, tokens, self.vocab_size))
            outputs[ACTIVATIONS] = TensorSpec((1, tokens, self.hidden_size))
        return SignatureSpec(inputs, outputs)

    def drafter_signature(self) -> SignatureSpec:
        """One draft step: ``activations`` is the token's embedding, then the hidden state."""
        return SignatureSpec(
            inputs={
                ACTIVATIONS: TensorSpec((1, 1, 2 * self.hidden_size)),
                INPUT_POS: TensorSpec((1,), Dtype.INT32),
                MASK: TensorSpec((1, 1, 1, self.cache_length), Dtype.BOOL),
                **self._parameters(),
                **self.kv_specs(self.drafter_donors),
            },
            outputs={
                LOGITS: TensorSpec((1, 1, self.vocab_size)),
                PROJECTED_ACTIVATIONS: TensorSpec((1, 1, self.hidden_size)),
            },
        )

    def draft_round_signature(self) -> SignatureSpec | None:
        """G draft steps, each token the likeliest one; None without a drafter and for a GPU.

        ``token_ids`` is the pending token, ``activations`` the hidden state before it; ``tokens`` are
        the drafts.
        """
        if not self.has_drafter or self.accelerator is Accelerator.GPU:
            return None
        return SignatureSpec(
            inputs={
                TOKEN_IDS: TensorSpec((1, 1), Dtype.INT32),
                ACTIVATIONS: TensorSpec((1, 1, self.hidden_size)),
                INPUT_POS: TensorSpec((1,), Dtype.INT32),
                MASK: TensorSpec((1, 1, 1, self.cache_length), Dtype.BOOL),
                **self.kv_specs(self.drafter_donors),
            },
            outputs={TOKENS: TensorSpec((self.draft_length,), Dtype.INT32)},
        )

    def batch_target_signatures(self) -> dict[str, SignatureSpec]:
        """``decode`` and ``verify`` for ``batch`` sequences; empty if that is 1."""
        if self.batch == 1:
            return {}
        signatures = {BATCH_DECODE: self._batch_step(1)}
        if self.has_drafter:
            signatures[BATCH_VERIFY] = self._batch_step(self.draft_length + 1)
        return signatures

    def _batch_step(self, tokens: int) -> SignatureSpec:
        batch, caches = self.batch, self.batch_kv_specs()
        per_layer = (batch, tokens, self.layer_count, self.per_layer_width)
        return SignatureSpec(
            inputs={
                EMBEDDINGS: TensorSpec((batch, tokens, self.hidden_size)),
                PER_LAYER_EMBEDDINGS: TensorSpec(per_layer),
                INPUT_POS: TensorSpec((batch, tokens), Dtype.INT32),
                MASK: TensorSpec((batch, 1, tokens, self.cache_length), Dtype.BOOL),
                **caches,
            },
            outputs={
                **caches,
                LOGITS: TensorSpec((batch, tokens, self.vocab_size)),
                ACTIVATIONS: TensorSpec((batch, tokens, self.hidden_size)),
            },
        )

    def batch_drafter_signatures(self) -> dict[str, SignatureSpec]:
        """One draft step of ``batch`` sequences; empty if that is 1 or there is no drafter."""
        if self.batch == 1 or not self.has_drafter:
            return {}
        batch = self.batch
        step = SignatureSpec(
            inputs={
                ACTIVATIONS: TensorSpec((batch, 1, 2 * self.hidden_size)),
                INPUT_POS: TensorSpec((batch, 1), Dtype.INT32),
                MASK: TensorSpec((batch, 1, 1, self.cache_length), Dtype.BOOL),
                **self.batch_kv_specs(self.drafter_donors),
            },
            outputs={
                LOGITS: TensorSpec((batch, 1, self.vocab_size)),
                PROJECTED_ACTIVATIONS: TensorSpec((batch, 1, self.hidden_size)),
            },
        )
        return {BATCH_DRAFT: step}

    def embedder_signature(self) -> SignatureSpec:
        """Token id to scaled embedding."""
        return SignatureSpec(
            {TOKEN_IDS: TensorSpec((1, 1), Dtype.INT32)},
            {EMBEDDINGS: TensorSpec((1, 1, self.hidden_size))},
        )

    def per_layer_embedder_signature(self) -> SignatureSpec:
        """Token id to the scaled per-layer embeddings of all layers."""
        shape = (1, 1, self.layer_count, self.per_layer_width)
        return SignatureSpec(
            {TOKEN_IDS: TensorSpec((1, 1), Dtype.INT32)}, {PER_LAYER_EMBEDDINGS: TensorSpec(shape)}
        )

    def section_signatures(self) -> dict[Section, dict[str, SignatureSpec]]:
        """Every model section of the bundle with the signatures it must hold."""
        sections = {
            Section.EMBEDDER: {EMBED: self.embedder_signature()},
            Section.PER_LAYER_EMBEDDER: {EMBED_PER_LAYER: self.per_layer_embedder_signature()},
            Section.PREFILL_DECODE: {
                **self.target_signatures(),
                **self.batch_target_signatures(),
            },
        }
        if self.has_drafter:
            sections[Section.MTP_DRAFTER] = {
                DRAFT: self.drafter_signature(),  # the first: see DRAFT
                **self.batch_drafter_signatures(),
            }
        return sections

    def batch_signatures(self) -> dict[Section, dict[str, SignatureSpec]]:
        """Those of :meth:`section_signatures` that take several sequences."""
        return {
            Section.PREFILL_DECODE: self.batch_target_signatures(),
            Section.MTP_DRAFTER: self.batch_drafter_signatures(),
        }
