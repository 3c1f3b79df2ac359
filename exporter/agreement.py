"""What configurations and options come to: the contract, every length and shape of it, and the head."""

from __future__ import annotations

import dataclasses

from exporter.checkpoints.architecture import AttentionKind, DrafterConfig, HeadKind, TargetConfig
from exporter.conflicts import check_head, check_lengths
from exporter.contract.caches import LENGTH_MULTIPLE, KvCache, Ring, is_prime
from exporter.contract.names import Accelerator
from exporter.contract.text import Contract
from exporter.options import ExportOptions, SlidingCache

DEFAULT_CACHE_LENGTH = 4096
DEFAULT_PREFILL_LENGTHS = (128, 1024)
MOST_DRAFTS = 15
"""Of a round; rings have room for them, so that their graphs do not depend on the draft length."""
LONGEST_CACHE = 131072
"""That can be chosen at load, unless more is asked for: what E2B and E4B were trained for."""


def make_contract(
    target: TargetConfig, drafter: DrafterConfig | None, options: ExportOptions
) -> Contract:
    """Decide every shape that crosses the boundary of a graph.

    Raises:
        ConfigError: The lengths asked for do not fit the model or each other.
    """
    cache_length = options.cache_length or min(DEFAULT_CACHE_LENGTH, target.max_position)
    donors = sorted(target.kv_donor(kind).index for kind in AttentionKind)
    on_gpu = options.accelerator is Accelerator.GPU  # whose operations hold S as an attribute
    fixed = options.fixed_cache_length or on_gpu
    in_turn = options.sliding_cache is SlidingCache.RING
    ring = choose_ring(target, options.rewind_tokens) if in_turn else None
    prefills = tuple(sorted(set(options.prefill_lengths or DEFAULT_PREFILL_LENGTHS)))
    agreed = Contract(
        hidden_size=target.text.hidden_size,
        layer_count=len(target.text.layers),
        per_layer_width=target.per_layer_width,
        vocab_size=target.text.vocab_size,
        sliding_window=target.text.sliding_window,
        cache_length=cache_length,
        placeholder=None if fixed else choose_placeholder(target, cache_length, ring, prefills),
        prefill_lengths=prefills,
        draft_length=options.draft_length if drafter is not None else 0,
        kv_caches=tuple(
            KvCache(
                layer.index, layer.kv_heads, layer.head_dim, layer.kind is AttentionKind.SLIDING
            )
            for layer in target.kv_owners
        ),
        drafter_donors=tuple(donors) if drafter is not None else (),
        batch=options.batch,
        accelerator=options.accelerator,
        kv_dtype=options.kv_dtype,
        ring=ring,
    )
    if options.prefill_lengths is None:
        agreed = _with_fitting_prefill(agreed)
    check_lengths(agreed, target)
    return agreed


def choose_head(drafter: DrafterConfig | None, options: ExportOptions) -> HeadKind:
    """The head to export: what the user wants, else what suits the checkpoint and the accelerator.

    Raises:
        ConfigError: A centroid head is wanted of a drafter that has none.
    """
    if drafter is None:
        return HeadKind.FULL  # nothing is drafted; one kind, so that graphs are known again
    check_head(drafter, options)
    sparse = drafter.centroid_head is not None and options.accelerator is Accelerator.CPU
    return options.drafter_head or (HeadKind.CENTROID if sparse else HeadKind.FULL)


def choose_ring(target: TargetConfig, rewind_tokens: int = 0) -> Ring:
    """The ring for a model's sliding layers, in which a conversation can be taken back by so many tokens.

    A turn holds what the drafter sees (the window and one more), behind it the drafts of a round that were
    rejected, and those that a stop token among accepted ones makes the engine take back.
    """
    needed = target.text.sliding_window + 1 + 2 * (MOST_DRAFTS + 1) + rewind_tokens
    return Ring(turn=-(-needed // LENGTH_MULTIPLE) * LENGTH_MULTIPLE, overhang=LENGTH_MULTIPLE)


def choose_placeholder(
    target: TargetConfig,
    cache_length: int,
    ring: Ring | None = None,
    prefill_lengths: tuple[int, ...] = (),
) -> int:
    """The prime that stands for S: above every length that may be asked for, and no factor of a size.

    All but the longest caches have one in common, and so their graphs.
    """
    text = target.text
    sizes = {text.hidden_size, len(text.layers) * target.per_layer_width}
    sizes |= {text.vocab_size, target.per_layer_vocab_size}
    sizes |= {layer.mlp_width for layer in text.layers}
    sizes |= {text.heads * layer.head_dim for layer in text.layers}
    if ring is not None:
        sizes |= {ring.slots + tokens for tokens in (0, *prefill_lengths)}
    number = max(cache_length, min(target.max_position, LONGEST_CACHE)) + 1
    while not is_prime(number) or any(size % number == 0 for size in sizes):
        number += 1
    return number


def _with_fitting_prefill(agreed: Contract) -> Contract:
    """The default prefill lengths as far as they fit; the shortest, cut to fit, if none does."""
    for lengths in (agreed.prefill_lengths, agreed.prefill_lengths[:1]):
        fitting = tuple(sorted({min(length, agreed.cache_length) for length in lengths}))
        chosen = dataclasses.replace(agreed, prefill_lengths=fitting)
        if chosen.shortest_cache <= chosen.cache_length:
            return chosen
    return chosen
