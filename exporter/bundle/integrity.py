"""Whether a bundle's bytes are those that were exported.

Compares the sections with the SHA-256 that the exporter stores beside each of them in the header, and
the tokenizer, which has none, with the checksum inside its zlib stream. A section without either (an
older bundle, another tool's) is taken on trust.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from exporter.bundle.layout import GRAPH_SHA256_KEY, SHA256_KEY
from exporter.bundle.reader import HF_TOKENIZER, Bundle, BundleSection
from exporter.errors import BundleError, listed
from exporter.files.checksum import sha256
from exporter.progress import Advance


class Condition(enum.Enum):
    """What the comparison of a section with its checksum says."""

    INTACT = "intact"
    DAMAGED = "damaged"
    UNKNOWN = "without a checksum"


@dataclass(frozen=True)
class CheckedSection:
    """A section's name, as a person would say it, and its condition.

    ``sealed`` if its checksum is the exporter's; a tokenizer's zlib stream has one whoever wrote it.
    """

    name: str
    condition: Condition
    sealed: bool

    def damage(self) -> str:
        """One sentence about a damaged section."""
        return f"{self.name} does not have the checksum it was exported with"


def check_sections(bundle: Bundle, *, weights: bool) -> None:
    """Compare checksums.

    Args:
        bundle: The header.
        weights: Include the weights, which takes a second or so per GB.

    Raises:
        BundleError: Some section differs; all of them are named.
    """
    found = checked_sections(bundle, weights=weights)
    damage = [section.damage() for section in found if section.condition is Condition.DAMAGED]
    if damage:
        raise BundleError(f"{bundle.path}: damaged; copy or export it again: {listed(damage)}")


def checked_sections(
    bundle: Bundle, *, weights: bool, advance: Advance = lambda _: None
) -> tuple[CheckedSection, ...]:
    """Every section of a bundle in the order of the file.

    Args:
        bundle: The header.
        weights: Include the weights; without them a model's graph alone is compared.
        advance: Told of every block of bytes.
    """
    return tuple(
        CheckedSection(
            _name(section),
            _condition(bundle, section, weights, advance),
            SHA256_KEY in section.metadata,
        )
        for section in bundle.sections
    )


@dataclass(frozen=True)
class Checksums:
    """What comparing the checksums of a bundle or folder came to."""

    weights: bool
    """Whether weights were read, too."""
    known: int
    """Parts that have a checksum."""
    damage: tuple[str, ...]
    """One sentence for each that does not have its own any more."""


def checksums_of(bundle: Bundle, *, weights: bool) -> Checksums:
    """Compare all sections of a bundle.

    Args:
        bundle: The header.
        weights: Include the weights.
    """
    found = checked_sections(bundle, weights=weights)
    damage = (section.damage() for section in found if section.condition is Condition.DAMAGED)
    known = sum(section.condition is not Condition.UNKNOWN for section in found if section.sealed)
    return Checksums(weights, known, tuple(damage))


def _name(section: BundleSection) -> str:
    return f"the {section.model_type or section.label or section.data_type} section"


def _condition(
    bundle: Bundle, section: BundleSection, weights: bool, advance: Advance
) -> Condition:
    known = section.metadata
    if (weights or section.model_type is None) and SHA256_KEY in known:
        digest = sha256(bundle.path, advance, section.begin, section.nbytes)
        intact = digest == str(known[SHA256_KEY])
    elif GRAPH_SHA256_KEY in known:
        digest = sha256(bundle.path, advance, section.begin, section.graph_bytes)
        intact = digest == str(known[GRAPH_SHA256_KEY])
    elif section.data_type == HF_TOKENIZER:
        intact = _unpacks(bundle)
    else:
        return Condition.UNKNOWN
    return Condition.INTACT if intact else Condition.DAMAGED


def _unpacks(bundle: Bundle) -> bool:
    try:
        bundle.tokenizer_json()
    except BundleError:
        return False
    return True
