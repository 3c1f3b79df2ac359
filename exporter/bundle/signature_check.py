"""The signatures of a bundle's graphs: which are to be run, and whether they are those the contract promises.

This is the only comparison of the two. ``inspect`` uses it, and the reference runtime before it runs
anything. What a graph computes is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.bundle.graph_reader import GraphReader, SignatureInfo, TensorInfo
from exporter.bundle.layout import DRAFT_ROUND_SECTIONS, READS_KEY, SHA256_KEY
from exporter.bundle.reader import Bundle
from exporter.contract import names
from exporter.contract.names import Section, SignatureSpec, TensorSpec
from exporter.contract.text import Contract
from exporter.errors import BundleError, listed

OPTIONAL_INPUTS = (names.PARAM_TENSOR,)
"""Inputs the engine fills if a graph has them."""

CACHE_PREFIXES = (names.KEY_CACHE_PREFIX, names.VALUE_CACHE_PREFIX)

Promised = Mapping[Section, Mapping[str, SignatureSpec]]
Found = Mapping[str, Mapping[str, SignatureInfo]]
"""Signatures by section and name."""

DRAFT_GRAPH = f"the graph of {names.DRAFT_ROUND}"


def broken_promises(agreed: Contract, found: Found, *, inferred: bool = False) -> list[str]:
    """Differences between all that a contract prescribes and what the graphs have.

    Args:
        agreed: The contract.
        found: What the graphs have.
        inferred: The contract is a guess from one of the signatures, not the manifest's. Caches may then
            be of any type that all signatures share, and there may be the engine's optional inputs.
    """
    problems = broken_signatures(agreed.as_lowered().section_signatures(), found, inferred=inferred)
    return problems + (_mixed_caches(found) if inferred else [])


def broken_signatures(promised: Promised, found: Found, *, inferred: bool = False) -> list[str]:
    """Differences between some of the contract's signatures and the graphs, at the graphs' cache length."""
    problems: list[str] = []
    for section, specs in promised.items():
        have = found.get(section.value)
        if have is None:
            problems.append(f"section {section.value} is missing")
            continue
        for name, spec in specs.items():
            signature = have.get(name_in_file(name, specs, have))
            problems += _differences(section.value, name, spec, signature, inferred=inferred)
    return problems


def name_in_file(
    name: str, specs: Mapping[str, SignatureSpec], have: Mapping[str, SignatureInfo]
) -> str:
    """What a section calls a signature. An only one may have any name: the engine takes the first."""
    return next(iter(have), name) if len(specs) == 1 and name not in have else name


def broken_draft_round(
    agreed: Contract, found: Mapping[str, SignatureInfo], *, inferred: bool = False
) -> list[str]:
    """Differences of the graph of a draft round, which has the drafter's signatures, too."""
    lowered = agreed.as_lowered()
    spec = lowered.draft_round_signature()
    if spec is None:
        return [f"{DRAFT_GRAPH} is not part of the contract"]
    wanted = {names.DRAFT_ROUND: spec, **lowered.section_signatures()[Section.MTP_DRAFTER]}
    return [
        problem
        for name in wanted
        for problem in _differences(
            DRAFT_GRAPH, name, wanted[name], found.get(name), inferred=inferred
        )
    ]


def broken_reads(bundle: Bundle) -> list[str]:
    """Whether the bundle still has the sections that the graph of a draft round was made for."""
    entry = bundle.draft_round
    if entry is None:
        return []
    read = (bundle.model(section) for section in DRAFT_ROUND_SECTIONS)
    known = " ".join(str(found.metadata.get(SHA256_KEY)) for found in read if found)
    if known == entry.metadata.get(READS_KEY):
        return []
    return [f"{DRAFT_GRAPH} was made for another token table or drafter than the bundle has"]


def _differences(
    where: str, name: str, spec: SignatureSpec, have: SignatureInfo | None, *, inferred: bool
) -> Iterator[str]:
    if have is None:
        yield f"{where}: signature {name} is missing"
        return
    for side, wanted, tensors in (
        ("input", spec.inputs, have.inputs),
        ("output", spec.outputs, have.outputs),
    ):
        at = f"{where}: {name}: {side}"
        yield from (f"{at} {tensor} is missing" for tensor in wanted if tensor not in tensors)
        known = {*wanted, *OPTIONAL_INPUTS} if inferred else wanted.keys()
        unknown = (tensor for tensor in tensors if tensor not in known)
        yield from (f"{at} {tensor} is not part of the contract" for tensor in unknown)
        for tensor in (tensor for tensor in wanted if tensor in tensors):
            any_type = inferred and tensor.startswith(CACHE_PREFIXES)
            if not _fits(wanted[tensor], tensors[tensor], any_type=any_type):
                shown, expected = _shown(tensors[tensor]), _promised(wanted[tensor])
                yield f"{at} {tensor} is {shown}, expected {expected}"


def _fits(wanted: TensorSpec, have: TensorInfo, *, any_type: bool) -> bool:
    """Whether a tensor is as prescribed; sizes that are chosen at load fit anything."""
    if len(wanted.shape) != len(have.shape):
        return False
    sizes = all(n in (-1, w) for w, n in zip(wanted.shape, have.shape, strict=True))
    return sizes and (any_type or have.dtype == wanted.dtype.value)


def _mixed_caches(found: Found) -> list[str]:
    types: dict[str, set[str]] = {}
    for signatures in found.values():
        for signature in signatures.values():
            for name, tensor in (*signature.inputs.items(), *signature.outputs.items()):
                if name.startswith(CACHE_PREFIXES):
                    types.setdefault(name, set()).add(tensor.dtype)
    return [
        f"{name} is {' here and '.join(sorted(kinds))} there: signatures cannot share it"
        for name, kinds in types.items()
        if len(kinds) > 1
    ]


def _shown(tensor: TensorInfo) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


def _promised(spec: TensorSpec) -> str:
    return f"{spec.dtype.value} {list(spec.shape)}"


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
