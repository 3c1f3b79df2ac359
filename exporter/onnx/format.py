"""The ONNX format, as :class:`exporter.formats.Format` wants it: a folder of models and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.checkpoints.assets.assets import Assets
from exporter.contract.media import TEXT_ONLY, Media
from exporter.contract.text import Contract
from exporter.errors import OutputError
from exporter.files.output import check_folder_destination, publish_folder
from exporter.lowering.tower import TowerRequest
from exporter.lowering.units import LoweringRequest
from exporter.onnx import graphs
from exporter.onnx.writer import write_folder
from exporter.path_kind import MANIFEST
from exporter.progress import Reporter

SUFFIX = "-onnx"
"""Of names that are chosen for folders."""

FILES = (".litertlm", ".onnx", ".task", ".tflite")
"""Ends of names that only files have."""

__all__ = ["SUFFIX", "check_destination", "find_graphs", "pack", "publish"]


def check_destination(output: Path, *, force: bool) -> None:
    """A folder that exists is replaced only if it is such an export.

    Raises:
        OutputError: The output cannot be made or replaced, or its name is one of a file.
    """
    if output.suffix in FILES:
        raise OutputError(
            f"{output}: an export to ONNX is a folder of models; give it a name without {output.suffix}"
        )
    check_folder_destination(output, MANIFEST, force=force)


def find_graphs(
    request: LoweringRequest, reporter: Reporter, *, fresh: bool, towers: Sequence[TowerRequest]
) -> graphs.OnnxGraphs:
    """Graphs of the text model and its drafter."""
    assert not towers, "a plan for a folder has no towers"
    return graphs.find_graphs(request, reporter, fresh=fresh)


def pack(
    scratch: Path,
    assets: Assets,
    contract: Contract,
    manifest: Mapping[str, Any],
    media: Media,
) -> Path:
    """Complete the folder that binding has left."""
    assert media == TEXT_ONLY, "a plan for a folder has no towers"
    return write_folder(scratch, assets, contract, manifest)


def publish(finished: Path, output: Path, *, force: bool) -> None:
    """Move the folder to its destination."""
    publish_folder(finished, output, MANIFEST, force=force)
