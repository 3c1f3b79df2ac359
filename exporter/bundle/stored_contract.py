"""The contract as a block of a manifest, in a bundle or in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from exporter.bundle.stored_numbers import entries, whole, wholes
from exporter.contract.caches import KvCache, Ring
from exporter.contract.names import Accelerator, Dtype
from exporter.contract.text import Contract
from exporter.errors import BundleError

VERSION = 2
"""Version of the block."""

MOST_SEQUENCES = 64
"""That a batch is read with; an export makes eight at most."""


def contract_block(contract: Contract) -> dict[str, Any]:
    """A contract as values that JSON can hold; :func:`parsed_contract` reads them back."""
    return {"version": VERSION, **asdict(contract)}


def stored_contract(where: Path, manifest: Mapping[str, Any]) -> Contract:
    """The contract in a manifest.

    Args:
        where: The bundle or folder.
        manifest: Its manifest, complete as far as its top level goes.

    Raises:
        BundleError: The contract is of another version, or damaged.
    """
    try:
        return parsed_contract(manifest["contract"])
    except ValueError as error:
        raise BundleError(f"{where}: {error}") from error


def parsed_contract(block: object) -> Contract:
    """A manifest's contract block.

    Raises:
        ValueError: As for :func:`stored_contract`, without the place.
    """
    if not isinstance(block, Mapping):
        kind = type(block).__name__
        raise ValueError(
            f"the manifest is damaged: expected an object as its contract, found a {kind}"
        )
    if (found := block.get("version")) != VERSION:
        raise ValueError(
            f"found contract version {found!r}, expected {VERSION}: another version of mtp-export made it; "
            "export it again"
        )
    try:
        return _read(block)
    except ValueError as error:
        raise ValueError(f"the manifest is damaged: {error}") from error


def _read(block: Mapping[str, Any]) -> Contract:
    """Read fields; ``batch``, ``accelerator``, ``kv_dtype`` and ``ring`` are missing in older blocks.

    Raises:
        ValueError: A field is missing, not of its type, or no such number.
    """

    def size(key: str, least: int = 1) -> int:
        return whole(block[key], key, least=least)

    try:
        caches = tuple(map(_cache, entries(block, "kv_caches")))
        donors = wholes(block, "drafter_donors")
        if unknown := set(donors) - {cache.layer for cache in caches}:
            raise ValueError(f"drafter_donors: layers without a cache: {sorted(unknown)}")
        return Contract(
            hidden_size=size("hidden_size"),
            layer_count=size("layer_count"),
            per_layer_width=size("per_layer_width"),
            vocab_size=size("vocab_size"),
            sliding_window=size("sliding_window"),
            cache_length=size("cache_length"),
            placeholder=None if block["placeholder"] is None else size("placeholder"),
            prefill_lengths=_prefills(block),
            draft_length=size("draft_length", 1 if donors else 0),
            kv_caches=caches,
            drafter_donors=donors,
            batch=whole(block.get("batch", 1), "batch", least=1, most=MOST_SEQUENCES),
            accelerator=Accelerator(block.get("accelerator", Accelerator.CPU)),
            kv_dtype=Dtype(block.get("kv_dtype", Dtype.FLOAT32)),
            ring=None if block.get("ring") is None else _ring(block["ring"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the contract block is incomplete: {error}") from error


def _prefills(block: Mapping[str, Any]) -> tuple[int, ...]:
    lengths = wholes(block, "prefill_lengths", least=1)
    if not lengths:
        raise ValueError("prefill_lengths: expected at least one, found none")
    return lengths


def _cache(block: Mapping[str, Any]) -> KvCache:
    layer, heads, dim = (whole(block[key], key) for key in ("layer", "kv_heads", "head_dim"))
    if not isinstance(block["sliding"], bool):
        raise ValueError(f"sliding: expected true or false, found {ascii(block['sliding'])[:40]}")
    return KvCache(layer, heads, dim, block["sliding"])


def _ring(block: Mapping[str, Any]) -> Ring:
    return Ring(*(whole(block[key], key, least=1) for key in ("turn", "overhang")))


def require_drafter(where: Path, agreed: Contract) -> None:
    """Refuse to draft with a bundle or folder that cannot.

    Raises:
        BundleError: It has no drafter.
    """
    if not agreed.has_drafter:
        raise BundleError(
            f"{where}: it has no drafter, so there is nothing to draft with; use --mtp off, or export "
            "it again with a drafter"
        )


def with_cache_length(where: Path, agreed: Contract, wanted: int | None) -> Contract:
    """The contract of a bundle or folder loaded with the wanted length; None for the bundle's own choice.

    Where the length is fixed, a shorter one is left to sessions, which then use less of the cache.

    Raises:
        BundleError: The graphs cannot have that length.
    """
    uses_less = agreed.placeholder is None and (wanted or 0) <= agreed.cache_length
    if wanted is None or uses_less:
        return agreed
    try:
        return agreed.resized(wanted)
    except ValueError as error:
        raise BundleError(f"{where}: asked for {error}; choose another --max-num-tokens") from error
