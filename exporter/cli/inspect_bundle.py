"""``mtp-export inspect`` of a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exporter.cli.inspect_parts import (
    checksum_lines,
    checksums_json,
    contract_lines,
    manifest_lines,
    signature_json,
    signature_lines,
    weight_lines,
    weights_json,
)

if TYPE_CHECKING:
    from exporter.bundle.graph_reader import SignatureInfo
    from exporter.bundle.inspection import Inspection, ModelSection
    from exporter.bundle.integrity import Checksums
    from exporter.contract.audio import AudioContract
    from exporter.contract.vision import VisionContract


def show(path: Path, *, as_json: bool, check: bool) -> None:
    """Print the inspection; exit code 1 if the bundle breaks the contract or does not have its checksums.

    Args:
        path: The bundle.
        as_json: Print JSON.
        check: Read the weights, too.
    """
    from exporter.bundle.inspection import inspect_bundle
    from exporter.bundle.integrity import checksums_of

    inspection = inspect_bundle(path)
    sums = checksums_of(inspection.bundle, weights=check)
    if as_json:
        click.echo(json.dumps({**to_json(inspection), "checksums": checksums_json(sums)}, indent=2))
    else:
        click.echo(render(inspection, sums))
    if inspection.problems or sums.damage:
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
        "pictures": _fields(inspection.pictures),
        "sound": _fields(inspection.sound),
        "manifest": inspection.manifest,
    }


def _fields(contract: VisionContract | AudioContract | None) -> dict[str, Any] | None:
    return None if contract is None else asdict(contract)


def _model_json(model: ModelSection) -> dict[str, Any]:
    return {
        "bytes": model.nbytes,
        "signatures": _signatures_json(model.signatures),
        "weights": weights_json(model.weights),
    }


def _signatures_json(signatures: Mapping[str, SignatureInfo]) -> dict[str, Any]:
    return {name: signature_json(signature) for name, signature in signatures.items()}


def render(inspection: Inspection, sums: Checksums) -> str:
    """The inspection as text for a person."""
    from exporter.bundle.layout import DRAFT_ROUND_VALUE
    from exporter.bundle.stored_pictures import stated_pictures
    from exporter.bundle.stored_sound import stated_sound
    from exporter.contract.names import Section

    bundle = inspection.bundle
    size = bundle.path.stat().st_size
    lines = [f"{bundle.path}: LiteRT-LM bundle {bundle.version}, {size:,} bytes"]
    lines += [f"drafter: {'yes' if inspection.has_drafter else 'no (plain decoding only)'}"]
    if inspection.pictures is not None:
        lines += [stated_pictures(inspection.pictures)]
    if inspection.sound is not None:
        lines += [stated_sound(inspection.sound)]
    lines += contract_lines(inspection.contract, inspection.problems)
    target = bundle.model(Section.PREFILL_DECODE)
    if target is not None and target.activations is not None:
        lines += [f"activations on a GPU: {target.activations}, unless the app asks for others"]
    lines += checksum_lines(sums)
    lines += ["", "sections:"]
    lines += [
        f"  {section.model_type or section.label or section.data_type:28} {section.nbytes:>15,} bytes"
        for section in bundle.sections
    ]
    for section_name, model in inspection.models.items():
        lines += ["", f"{section_name}:"]
        for name, signature in model.signatures.items():
            lines += signature_lines(name, signature)
        lines += weight_lines(model.weights)
    if inspection.draft_round is not None:
        lines += ["", f"{DRAFT_ROUND_VALUE}:"]
        for name, signature in inspection.draft_round.items():
            lines += signature_lines(name, signature)
        lines += ["  weights: the embedder's and the drafter's, where these have them"]
    return "\n".join(lines + manifest_lines(inspection.manifest))
