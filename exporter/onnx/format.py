"""The ONNX format, as :class:`exporter.formats.Format` wants it: a folder of models and weights."""

from __future__ import annotations

from pathlib import Path

from exporter.files.output import check_folder_destination, publish_folder
from exporter.onnx.graphs import find_graphs
from exporter.onnx.writer import write_folder as pack
from exporter.path_kind import MANIFEST

__all__ = ["check_destination", "find_graphs", "pack", "publish"]


def check_destination(output: Path, *, force: bool) -> None:
    """A folder that exists is replaced only if it is such an export."""
    check_folder_destination(output, MANIFEST, force=force)


def publish(finished: Path, output: Path, *, force: bool) -> None:
    """Move the folder to its destination."""
    publish_folder(finished, output, MANIFEST, force=force)
