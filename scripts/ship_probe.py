"""Make the smallest bundle that the engine opens, for rendering templates: the tiny pair's, all weights zero.

    python scripts/ship_probe.py     # replaces exporter/templates/probe.litertlm.xz

`export` asks the engine, where it is installed, whether it renders a template as we do. It renders only with
a bundle open, and this one opens in a moment. Run it when an engine refuses to open the one that ships.
"""

from __future__ import annotations

import lzma
import tempfile
from pathlib import Path

from exporter.bundle.layout import GRAPH_BYTES_KEY
from exporter.bundle.reader import open_bundle
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.options import ExportOptions
from exporter.pipeline import export
from exporter.templates.probe import PROBE
from quantize.builtin_recipes import RECIPES

TINY = Path(__file__).parent.parent / "checkpoints" / "tiny"


def without_weights(path: Path) -> bytes:
    """A bundle's bytes with zeros behind every graph."""
    content = bytearray(path.read_bytes())
    for section in open_bundle(path).sections:
        if GRAPH_BYTES_KEY in section.metadata:
            begin = section.begin + int(section.metadata[GRAPH_BYTES_KEY])
            content[begin : section.end] = bytes(section.end - begin)
    return bytes(content)


def main() -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "tiny.litertlm"
        pair = open_checkpoint(TINY / "target"), open_checkpoint(TINY / "drafter")
        export(*pair, bundle, ExportOptions(RECIPES["int4"]))
        packed = lzma.compress(without_weights(bundle), preset=9)
    PROBE.write_bytes(packed)
    print(f"{PROBE.name}: {len(packed):,} bytes")


if __name__ == "__main__":
    main()
