"""The contract as a block of a manifest, in a bundle or in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from exporter.contract.names import Accelerator, Dtype
from exporter.contract.text import Contract, KvCache, Ring
from exporter.errors import BundleError

VERSION = 2
"""Version of the block."""


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
        ValueError: A field is missing or not of its type.
    """
    try:
        return Contract(
            hidden_size=int(block["hidden_size"]),
            layer_count=int(block["layer_count"]),
            per_layer_width=int(block["per_layer_width"]),
            vocab_size=int(block["vocab_size"]),
            sliding_window=int(block["sliding_window"]),
            cache_length=int(block["cache_length"]),
            placeholder=None if block["placeholder"] is None else int(block["placeholder"]),
            prefill_lengths=tuple(int(tokens) for tokens in block["prefill_lengths"]),
            draft_length=int(block["draft_length"]),
            kv_caches=tuple(KvCache(**cache) for cache in block["kv_caches"]),
            drafter_donors=tuple(int(layer) for layer in block["drafter_donors"]),
            batch=int(block.get("batch", 1)),
            accelerator=Accelerator(block.get("accelerator", Accelerator.CPU)),
            kv_dtype=Dtype(block.get("kv_dtype", Dtype.FLOAT32)),
            ring=None if block.get("ring") is None else Ring(**block["ring"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the contract block is incomplete: {error}") from error


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
