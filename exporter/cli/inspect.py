"""``mtp-export inspect``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from exporter.bundles.inspection import Inspection, ModelSection, WeightGroup
    from exporter.contract import Contract
    from exporter.lowering.graph_reader import SignatureInfo


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Everything, machine-readable.")
def command(bundle: Path, as_json: bool) -> None:
    """Show what is inside BUNDLE, a file or an ONNX folder, and check that it keeps the contract.

    Exit code 1 if it does not.
    """
    from exporter.bundles.inspection import inspect_bundle

    if bundle.is_dir():
        from exporter.cli.inspect_onnx import show

        show(bundle, as_json=as_json)
        return
    inspection = inspect_bundle(bundle)
    click.echo(json.dumps(to_json(inspection), indent=2) if as_json else render(inspection))
    if inspection.problems:
        raise click.exceptions.Exit(1)


def to_json(inspection: Inspection) -> dict[str, Any]:
    """The whole inspection as one JSON object."""
    bundle = inspection.bundle
    return {
        "path": str(bundle.path),
        "format_version": bundle.version,
        "system_metadata": bundle.system_metadata,
        "sections": [
            {
                "data_type": section.data_type,
                "metadata": section.metadata,
                "begin": section.begin,
                "bytes": section.nbytes,
            }
            for section in bundle.sections
        ],
        "models": {name: _model_json(model) for name, model in inspection.models.items()},
        "drafter": inspection.has_drafter,
        "draft_round": _signatures_json(inspection.draft_round or {}),
        "contract_kept": not inspection.problems,
        "problems": list(inspection.problems),
        "manifest": inspection.manifest,
    }


def _model_json(model: ModelSection) -> dict[str, Any]:
    return {
        "bytes": model.nbytes,
        "signatures": _signatures_json(model.signatures),
        "weights": weights_json(model.weights),
    }


def _signatures_json(signatures: Mapping[str, SignatureInfo]) -> dict[str, Any]:
    return {name: signature_json(signature) for name, signature in signatures.items()}


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


def render(inspection: Inspection) -> str:
    """The inspection as text for a person."""
    from exporter.bundles.layout import DRAFT_ROUND_VALUE

    bundle = inspection.bundle
    size = bundle.path.stat().st_size
    lines = [f"{bundle.path}: LiteRT-LM bundle {bundle.version}, {size:,} bytes"]
    lines += [f"drafter: {'yes' if inspection.has_drafter else 'no (plain decoding only)'}"]
    lines += contract_lines(inspection.contract, inspection.problems)
    lines += ["", "sections:"]
    lines += [
        f"  {section.model_type or section.label or section.data_type:28} {section.nbytes:>15,} bytes"
        for section in bundle.sections
    ]
    for model in inspection.models.values():
        lines += ["", f"{model.model_type}:"]
        for name, signature in model.signatures.items():
            lines += signature_lines(name, signature)
        lines += weight_lines(model.weights)
    if inspection.draft_round is not None:
        lines += ["", f"{DRAFT_ROUND_VALUE}:"]
        for name, signature in inspection.draft_round.items():
            lines += signature_lines(name, signature)
        lines += ["  weights: the embedder's and the drafter's, where these have them"]
    return "\n".join(lines + manifest_lines(inspection.manifest))


def weight_lines(weights: Sequence[WeightGroup]) -> list[str]:
    """A table of weights."""
    return [
        f"  {'weights':44} {'stored as':9} {'bits':>4} {'tensors':>7} {'bytes':>15}",
        *(
            f"    {group.name:42} {stored_as(group):9} {group.bits:>4} {group.count:>7} {group.nbytes:>15,}"
            for group in weights
        ),
    ]


def stored_as(group: WeightGroup) -> str:
    """``int4/32`` for int4 with a scale per 32 elements."""
    return f"{group.dtype}/{group.block}" if group.block else group.dtype


def contract_lines(agreed: Contract | None, problems: Sequence[str]) -> list[str]:
    """Whether the contract is kept, and its main numbers."""
    if problems:
        return ["contract: BROKEN", *(f"  - {problem}" for problem in problems)]
    assert agreed is not None
    lines = [
        "contract: kept",
        f"cache: {agreed.cache_length} slots{_choice(agreed)} in {len(agreed.kv_caches)} layers, "
        f"{agreed.kv_dtype.value}, {_cache_bytes(agreed):,} bytes, "
        f"sliding window {agreed.sliding_window or 'unknown'}",
    ]
    if agreed.has_drafter:
        donors = " and ".join(str(layer) for layer in agreed.drafter_donors)
        lines.append(f"drafts per round: {agreed.draft_length}, over the caches of layers {donors}")
    if agreed.batch > 1:
        lines.append(f"sequences at once: {agreed.batch} (reference runtime), 1 (stock engine)")
    return lines


def _cache_bytes(agreed: Contract) -> int:
    from exporter.lowering.graph_reader import BITS

    elements = sum(math.prod(spec.shape) for spec in agreed.kv_specs().values())
    return elements * BITS[agreed.kv_dtype.value] // 8


def _choice(agreed: Contract) -> str:
    from exporter.contract import stated

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
    graphs = manifest["graphs"]
    lines.append(f"graphs {graphs['key']}, lowered with {_versions(graphs['lowered_with'])}")
    return [*lines, f"stored and packed by {_versions(manifest['tools'])}"]


def _versions(tools: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in tools.items())
