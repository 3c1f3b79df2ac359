"""Whether the graphs of a bundle have the signatures that its contract promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter import contract as names
from exporter.bundles.reader import Bundle
from exporter.contract import Contract, Section, SignatureSpec
from exporter.errors import BundleError, listed
from exporter.lowering.graph_reader import GraphReader, SignatureInfo


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
    """Those for several sequences at once, in the same way."""
    wanted = agreed.batch_signatures()
    if not drafting:
        wanted.pop(Section.MTP_DRAFTER)
        wanted[Section.PREFILL_DECODE].pop(names.BATCH_VERIFY, None)
    return wanted


def find_draft_round(bundle: Bundle, agreed: Contract) -> SignatureSpec | None:
    """The signature of all drafts of a round, checked against the contract; None if there is none.

    Args:
        bundle: Its header.
        agreed: The contract as lowered.

    Raises:
        BundleError: The graph is not what the contract says, or damaged.
    """
    spec, entry = agreed.draft_round_signature(), bundle.draft_round
    if spec is None or entry is None:
        return None
    reader = GraphReader(bundle.read(entry), f"{bundle.path}: {names.DRAFT_ROUND}")
    wanted = {names.DRAFT_ROUND: spec, **agreed.section_signatures()[Section.MTP_DRAFTER]}
    have = reader.signatures()
    _require(
        bundle,
        [
            problem
            for name in wanted
            for problem in _differences(name, wanted[name], have.get(name))
        ],
    )
    return spec


def find_signatures(
    bundle: Bundle, wanted: dict[Section, dict[str, SignatureSpec]]
) -> list[FoundSignature]:
    """Every signature to be run, checked against the contract.

    A section of one signature may call it as it likes; the engine takes the first one, too.

    Raises:
        BundleError: The graphs are not what the contract says, or damaged.
    """
    found: list[FoundSignature] = []
    problems: list[str] = []
    with bundle.mapped() as view:
        for section, specs in wanted.items():
            entry = bundle.model(section)
            if entry is None:
                problems.append(f"section {section.value} is missing")
                continue
            with view[entry.begin : entry.end] as content:
                reader = GraphReader(content, f"{bundle.path}: {section.value}")
                have = reader.signatures()
                reader.release()
            by_name = _named_otherwise(specs, have)
            for name, spec in specs.items():
                in_file = by_name.get(name, name)
                problems += _differences(f"{section.value}: {name}", spec, have.get(in_file))
                found.append(FoundSignature(section, in_file, name, spec))
    _require(bundle, problems)
    return found


def _require(bundle: Bundle, problems: Sequence[str]) -> None:
    if problems:
        raise BundleError(
            f"{bundle.path}: the graphs do not keep the contract: {listed(problems)}; export it again"
        )


def _named_otherwise(
    specs: Mapping[str, SignatureSpec], have: Mapping[str, SignatureInfo]
) -> dict[str, str]:
    """What the file calls the only signature that is wanted of a section."""
    only = next(iter(specs))
    return {only: next(iter(have), "")} if len(specs) == 1 and only not in have else {}


def _differences(where: str, spec: SignatureSpec, have: SignatureInfo | None) -> Iterator[str]:
    if have is None:
        yield f"{where} is missing"
        return
    for side, wanted, tensors in (
        ("input", spec.inputs, have.inputs),
        ("output", spec.outputs, have.outputs),
    ):
        for name, tensor in wanted.items():
            shape = tensors[name].shape if name in tensors else None
            if shape != tensor.shape:
                shown = "missing" if shape is None else f"of shape {list(shape)}"
                yield f"{where}: {side} {name} is {shown}, expected {list(tensor.shape)}"
        yield from (f"{where}: {side} {name} is unknown" for name in tensors if name not in wanted)
