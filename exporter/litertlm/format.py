"""The ``.litertlm`` format, as :class:`exporter.formats.Format` wants it: one file for LiteRT-LM."""

from __future__ import annotations

from exporter.files.output import check_destination, publish
from exporter.litertlm.graphs import find_graphs
from exporter.litertlm.writer import write_bundle as pack

__all__ = ["check_destination", "find_graphs", "pack", "publish"]
