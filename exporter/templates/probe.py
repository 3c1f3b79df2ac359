"""The smallest bundle that the engine opens, so that it can be asked to render a template.

Made by ``scripts/ship_probe.py``: the tiny pair's graphs, with weights that are all zero.
"""

from __future__ import annotations

import lzma
from pathlib import Path

PROBE = Path(__file__).with_name("probe.litertlm.xz")


def unpack_probe(folder: Path) -> Path:
    """Write the bundle into ``folder``; 3 MB."""
    path = folder / PROBE.stem
    path.write_bytes(lzma.decompress(PROBE.read_bytes()))
    return path
