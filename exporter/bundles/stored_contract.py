"""Reading back the contract that a manifest holds, in a bundle or in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporter.contract import VERSION, Contract
from exporter.errors import BundleError


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
        return Contract.from_json(block)
    except ValueError as error:
        raise ValueError(f"the manifest is damaged: {error}") from error


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
