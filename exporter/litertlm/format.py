"""The ``.litertlm`` format, as :class:`exporter.formats.Format` wants it: one file for LiteRT-LM."""

from __future__ import annotations

from pathlib import Path

from exporter.errors import OutputError
from exporter.files import output as files
from exporter.files.output import publish
from exporter.litertlm.graphs import find_graphs
from exporter.litertlm.stamp import creation_time
from exporter.litertlm.writer import write_bundle as pack

SUFFIX = ".litertlm"

__all__ = ["SUFFIX", "check_destination", "find_graphs", "pack", "publish"]


def check_destination(output: Path, *, force: bool) -> None:
    """Refuse early what would fail late.

    Raises:
        OutputError: The output cannot be made or replaced, or its name does not end as the engine expects.
        OptionsError: ``SOURCE_DATE_EPOCH`` is no time.
    """
    creation_time()
    if output.suffix != SUFFIX:
        raise OutputError(
            f"{output}: a bundle's name must end in {SUFFIX}, by which LiteRT-LM and its apps know it"
        )
    files.check_destination(output, force=force)
