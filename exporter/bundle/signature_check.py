"""Which signatures of a bundle are to be run, and what its graphs call them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter import contract as names
from exporter.bundle.graph_reader import GraphReader, SignatureInfo
from exporter.bundle.promises import (
    Promised,
    broken_draft_round,
    broken_reads,
    broken_signatures,
    name_in_file,
)
from exporter.bundle.reader import Bundle
from exporter.contract import Contract, Section, SignatureSpec
from exporter.errors import BundleError, listed


@dataclass(frozen=True)
class FoundSignature:
    """A signature to be run: where it is, what the file and the contract call it."""

    section: Section
    in_file: str
    name: str
    spec: SignatureSpec


def wanted_sections(agreed: Contract, *, drafting: bool) -> dict[Section, dict[str, SignatureSpec]]:
    """The contract's signatures for one sequence; without drafting neither drafter nor ``verify``."""
    batched = agreed.batch_signatures()
    wanted = {
        section: {
            name: spec for name, spec in specs.items() if name not in batched.get(section, {})
        }
        for section, specs in agreed.section_signatures().items()
    }
    if not drafting:
        wanted.pop(Section.MTP_DRAFTER, None)
        wanted[Section.PREFILL_DECODE].pop(names.VERIFY, None)
    return wanted


def wanted_batch_sections(
    agreed: Contract, *, drafting: bool
) -> dict[Section, dict[str, SignatureSpec]]:
    """The contract's signatures for several sequences at once; without drafting only those to decode."""
    wanted = agreed.batch_signatures()
    if not drafting:
        wanted.pop(Section.MTP_DRAFTER)
        wanted[Section.PREFILL_DECODE].pop(names.BATCH_VERIFY, None)
    return wanted


def find_draft_round(bundle: Bundle, agreed: Contract) -> SignatureSpec | None:
    """The signature of all drafts of a round; None if there is none to run.

    Its graph has been checked then, and has the drafter's signatures, too, by the contract's names.

    Args:
        bundle: Its header.
        agreed: The contract as lowered.

    Raises:
        BundleError: The graph is not what the contract says, or damaged, or made for other sections.
    """
    spec, entry = agreed.draft_round_signature(), bundle.draft_round
    if spec is None or entry is None:
        return None
    reader = GraphReader(bundle.read(entry), f"{bundle.path}: {names.DRAFT_ROUND}")
    _require(bundle, broken_draft_round(agreed, reader.signatures()) + broken_reads(bundle))
    return spec


def find_signatures(bundle: Bundle, wanted: Promised) -> list[FoundSignature]:
    """Every signature to be run, checked against the contract.

    Raises:
        BundleError: The graphs are not what the contract says, or damaged.
    """
    have: dict[str, dict[str, SignatureInfo]] = {}
    with bundle.mapped() as view:
        for section in wanted:
            if (entry := bundle.model(section)) is not None:
                with view[entry.begin : entry.end] as content:
                    reader = GraphReader(content, f"{bundle.path}: {section.value}")
                    have[section.value] = reader.signatures()
                    reader.release()
    _require(bundle, broken_signatures(wanted, have))
    return [
        FoundSignature(section, name_in_file(name, specs, have[section.value]), name, spec)
        for section, specs in wanted.items()
        for name, spec in specs.items()
    ]


def _require(bundle: Bundle, problems: Sequence[str]) -> None:
    if problems:
        raise BundleError(
            f"{bundle.path}: the graphs do not keep the contract: {listed(problems)}; export it again"
        )
