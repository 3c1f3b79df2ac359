"""What a bundle's manifest says of pictures, and whether its graphs keep that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporter.bundle.signature_check import Found, broken_signatures
from exporter.bundle.stored_numbers import whole, wholes
from exporter.contract.vision import VisionContract
from exporter.errors import BundleError

PICTURES = "pictures"
"""The manifest's block; only bundles that take pictures have one."""


def stored_pictures(manifest: Mapping[str, Any] | None) -> VisionContract | None:
    """What the sections for pictures take; None where there are none.

    Raises:
        ValueError: The block is damaged.
    """
    block = (manifest or {}).get(PICTURES)
    if block is None:
        return None
    try:
        tokens = wholes(block, "image_tokens", least=1)
        keys = ("patch_size", "pooling", "width", "hidden_size")
        sizes = (whole(block[key], key, least=1) for key in keys)
        found = VisionContract(tokens, *sizes)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"the manifest is damaged: its block of pictures is incomplete: {error}"
        ) from error
    if not tokens:
        raise ValueError("the manifest is damaged: pictures of no number of tokens")
    return found


def broken_pictures(pictures: VisionContract | None, found: Found) -> list[str]:
    """Differences between what is promised for pictures and what the graphs have."""
    return [] if pictures is None else broken_signatures(pictures.section_signatures(), found)


def picture_budget(where: Path, pictures: VisionContract, wanted: int | None) -> int:
    """The most soft tokens that a picture becomes: as many as wanted, or as the bundle allows.

    Raises:
        BundleError: More are wanted than it allows.
    """
    most = pictures.image_tokens[-1]
    if wanted is not None and wanted > most:
        raise BundleError(
            f"{where}: expected a budget of at most {most} tokens for a picture, found {wanted}; lower "
            f"--image-tokens, or export the bundle with --image-tokens {wanted}"
        )
    return wanted or most


def stated_pictures(pictures: VisionContract) -> str:
    """What a bundle does with pictures, in words."""
    counts = ", ".join(map(str, pictures.image_tokens))
    return f"pictures: {counts} tokens each, from patches of {pictures.patch_size} pixels"
