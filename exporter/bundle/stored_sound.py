"""What a bundle's manifest says of sound, and whether its graphs keep that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from exporter.bundle.signature_check import Found, broken_signatures
from exporter.bundle.stored_numbers import whole
from exporter.contract.audio import AudioContract

SOUND = "sound"
"""The manifest's block; only bundles that take sound have one."""


def stored_sound(manifest: Mapping[str, Any] | None) -> AudioContract | None:
    """What the sections for sound take; None where there are none.

    Raises:
        ValueError: The block is damaged.
    """
    block = (manifest or {}).get(SOUND)
    if block is None:
        return None
    try:
        names = [field.name for field in fields(AudioContract)]
        found = AudioContract(*(whole(block[name], name, least=1) for name in names))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"the manifest is damaged: its block of sound is incomplete: {error}"
        ) from error
    return found


def broken_sound(sound: AudioContract | None, found: Found) -> list[str]:
    """Differences between what is promised for sound and what the graphs have."""
    return [] if sound is None else broken_signatures(sound.section_signatures(), found)


def stated_sound(sound: AudioContract) -> str:
    """What a bundle does with sound, in words."""
    return f"sound: {sound.seconds:g} s at once, {sound.tokens} tokens; longer clips in pieces"
