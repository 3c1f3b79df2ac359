"""Parts that `inspect` shows of a bundle and of an ONNX folder, as JSON values and as lines of text."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exporter.bundle.graph_reader import SignatureInfo
    from exporter.bundle.inspection import WeightGroup
    from exporter.bundle.integrity import Checksums
    from exporter.contract.text import Contract

ORIGINS = {
    "checkpoint": "the checkpoint's, as it is",
    "gemma4": "mtp-export's for Gemma 4, in place of the checkpoint's, which LiteRT-LM cannot run",
    "rewritten": "the checkpoint's, rewritten for LiteRT-LM",
    "given": "given to export with --chat-template",
}
"""Where a bundle's chat template comes from, by what the manifest says."""

SECONDS_A_GB = 1
"""Of reading and hashing (docs/benchmarks.md: 1.6 GB a second of one core), if the disk is no slower."""

NAME_WIDTH = 42
"""Columns for the name of a weight, at the least."""


def signature_json(signature: SignatureInfo) -> dict[str, Any]:
    """Inputs and outputs with types and shapes."""
    return {
        side: {
            tensor: {"dtype": info.dtype, "shape": list(info.shape)}
            for tensor, info in tensors.items()
        }
        for side, tensors in (("inputs", signature.inputs), ("outputs", signature.outputs))
    }


def weights_json(weights: Sequence[WeightGroup]) -> list[dict[str, Any]]:
    """Weights by kind."""
    return [
        {
            "name": group.name,
            "dtype": group.dtype,
            "block": group.block,
            "bits": group.bits,
            "count": group.count,
            "elements": group.elements,
            "bytes": group.nbytes,
        }
        for group in weights
    ]


def weight_lines(weights: Sequence[WeightGroup]) -> list[str]:
    """A table of weights; no line where there are none."""
    if not weights:
        return []
    width = max(NAME_WIDTH, *(len(group.name) for group in weights))
    return [
        f"  {'weights':{width + 2}} {'stored as':9} {'bits':>4} {'tensors':>7} {'bytes':>15}",
        *(
            f"    {group.name:{width}} {stored_as(group):9} {group.bits:>4} {group.count:>7} "
            f"{group.nbytes:>15,}"
            for group in weights
        ),
    ]


def stored_as(group: WeightGroup) -> str:
    """``int4/32`` for int4 with a scale per 32 elements."""
    return f"{group.dtype}/{group.block}" if group.block else group.dtype


def checksum_lines(checksums: Checksums) -> list[str]:
    """What was compared with its checksum, and what came of it."""
    if checksums.damage:
        return ["checksums: DAMAGED", *(f"  - {damage}" for damage in checksums.damage)]
    if not checksums.known:
        return ["checksums: none to compare: another tool made it, or an older version"]
    if checksums.weights:
        return ["checksums: intact, weights included"]
    return [
        "checksums: intact; weights were not read: --check reads them, which takes about "
        f"{SECONDS_A_GB} s a GB"
    ]


def checksums_json(checksums: Checksums) -> dict[str, Any]:
    """What was compared, and what does not have its checksum."""
    return {"weights_read": checksums.weights, "damage": list(checksums.damage)}


def contract_lines(agreed: Contract | None, problems: Sequence[str]) -> list[str]:
    """Whether the contract is kept, and its main numbers."""
    if problems:
        return ["contract: BROKEN", *(f"  - {problem}" for problem in problems)]
    assert agreed is not None
    lines = [
        "contract: kept",
        f"cache: {agreed.cache_length} slots{_choice(agreed)} in {len(agreed.kv_caches)} layers, "
        f"{agreed.kv_dtype.value}, {_growth(agreed)}{_cache_bytes(agreed):,} bytes at "
        f"{agreed.cache_length}; sliding window {agreed.sliding_window or 'unknown'}",
    ]
    if agreed.ring is not None:
        lines.append(
            f"caches of sliding layers: rings of {agreed.ring.slots} slots, "
            f"{_cache_bytes(agreed, agreed.sliding_layers):,} bytes however many slots the others have"
        )
    if agreed.has_drafter:
        donors = " and ".join(str(layer) for layer in agreed.drafter_donors)
        lines.append(f"drafts per round: {agreed.draft_length}, over the caches of layers {donors}")
    if agreed.batch > 1:
        lines.append(f"sequences at once: {agreed.batch} (reference runtime), 1 (stock engine)")
    return lines


def _cache_bytes(agreed: Contract, layers: Collection[int] | None = None) -> int:
    from exporter.bundle.graph_reader import BITS

    specs = agreed.kv_specs(layers).values()
    return sum(math.prod(spec.shape) * BITS[spec.dtype.value] // 8 for spec in specs)


def _growth(agreed: Contract) -> str:
    """Bytes that another slot would take; nothing where there can be no other number of slots."""
    if agreed.placeholder is None:
        return ""
    growing = [kv.layer for kv in agreed.kv_caches if agreed.ring is None or not kv.sliding]
    return f"{_cache_bytes(agreed, growing) // agreed.cache_length:,} a slot, "


def _choice(agreed: Contract) -> str:
    from exporter.contract.caches import stated

    if agreed.placeholder is None:
        return ""
    return f" unless the app asks for {stated(agreed.cache_lengths)},"


def signature_lines(name: str, signature: SignatureInfo) -> list[str]:
    """Inputs and outputs, caches counted."""

    def shown(tensors: dict[str, Any]) -> str:
        plain = [
            f"{n} {list(t.shape)}" for n, t in tensors.items() if not n.startswith("kv_cache_")
        ]
        caches = len(tensors) - len(plain)
        return ", ".join(plain + ([f"{caches} KV tensors"] if caches else []))

    return [f"  {name}({shown(signature.inputs)})", f"    -> {shown(signature.outputs)}"]


def manifest_lines(manifest: dict[str, Any] | None) -> list[str]:
    """What a bundle was made from, and with what."""
    from exporter.version import versions_line

    if manifest is None:
        return ["", "manifest: none (made by another tool)"]
    lines = ["", f"made with recipe {manifest['recipe']['name']} from:"]
    for role in ("target", "drafter"):
        if (source := manifest["sources"].get(role)) is None:
            continue
        at = f" at {source['revision']}" if source["revision"] else ""
        lines.append(f"  {role}: {source['source']}{at}")
        lines += [f"    {digest}  {name}" for name, digest in source["sha256"].items()]
        ignored = sum(source["ignored_tensors"].values())
        if ignored:
            lines.append(f"    {ignored} tensors not used (--json lists them)")
    if (template := manifest["options"].get("chat_template")) is not None:
        lines.append(f"chat template: {ORIGINS.get(template['origin'], template['origin'])}")
    graphs = manifest["graphs"]
    lines.append(f"graphs {graphs['key']}, lowered with {versions_line(graphs['lowered_with'])}")
    return [*lines, f"stored and packed by {versions_line(manifest['tools'])}"]
