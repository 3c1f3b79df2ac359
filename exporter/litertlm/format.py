"""The ``.litertlm`` format, as :class:`exporter.formats.Format` wants it: one file for LiteRT-LM."""

from __future__ import annotations

from pathlib import Path

from exporter.files import output as files
from exporter.files.output import publish
from exporter.litertlm.graphs import find_graphs
from exporter.litertlm.stamp import creation_time
from exporter.litertlm.writer import write_bundle as pack

__all__ = ["check_destination", "find_graphs", "pack", "publish"]


def check_destination(output: Path, *, force: bool) -> None:
    """Refuse early what would fail late.

    Raises:
        OutputError: The output cannot be made or replaced.
        OptionsError: ``SOURCE_DATE_EPOCH`` is no time.
    """
    creation_time()
    files.check_destination(output, force=force)
