"""``mtp-export inspect`` of an ONNX folder."""

from __future__ import annotations

import json
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
    from exporter.bundle.integrity import Checksums
    from exporter.onnx.inspection import OnnxInspection


def show(path: Path, *, as_json: bool, check: bool) -> None:
    """Print the inspection; exit code 1 if the models break the contract or files lack their checksums.

    Args:
        path: The folder.
        as_json: Print JSON.
        check: Read the weights, too.
    """
    from exporter.extras import require_onnx

    require_onnx()
    from exporter.onnx.inspection import inspect_folder

    inspection = inspect_folder(path)
    sums = inspection.checksums(weights=check)
    if as_json:
        click.echo(json.dumps({**to_json(inspection), "checksums": checksums_json(sums)}, indent=2))
    else:
        click.echo(render(inspection, sums))
    if inspection.problems or sums.damage:
        raise click.exceptions.Exit(1)


def to_json(inspection: OnnxInspection) -> dict[str, Any]:
    """The whole inspection as one JSON object."""
    return {
        "path": str(inspection.folder.path),
        "format": "onnx",
        "bytes": inspection.nbytes,
        "opsets": inspection.opsets,
        "models": {
            name: {"bytes": model.nbytes, **signature_json(model.signature)}
            for name, model in inspection.models.items()
        },
        "weights": {
            name: {"bytes": file.nbytes, "weights": weights_json(file.weights)}
            for name, file in inspection.weights.items()
        },
        "drafter": inspection.contract.has_drafter,
        "contract_kept": not inspection.problems,
        "problems": list(inspection.problems),
        "manifest": inspection.folder.manifest(),
    }


def render(inspection: OnnxInspection, sums: Checksums) -> str:
    """The inspection as text for a person."""
    opsets = ", ".join(f"{domain} {version}" for domain, version in inspection.opsets.items())
    agreed, manifest = inspection.contract, inspection.folder.manifest()
    lines = [
        f"{inspection.folder.path}: ONNX folder, {inspection.nbytes:,} bytes",
        f"operators: {opsets}",
        f"drafter: {'yes' if agreed.has_drafter else 'no (plain decoding only)'}",
        *contract_lines(agreed, inspection.problems),
        *checksum_lines(sums),
    ]
    for name, model in inspection.models.items():
        lines += ["", f"{inspection.folder.model(name).name}: {model.nbytes:,} bytes"]
        lines += signature_lines(name, model.signature)
    for name, file in inspection.weights.items():
        lines += ["", f"{name}: {file.nbytes:,} bytes", *weight_lines(file.weights)]
    return "\n".join(lines + manifest_lines(manifest))
