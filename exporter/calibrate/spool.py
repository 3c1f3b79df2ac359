"""Codes that were chosen before binding, kept on disk until they are bound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantize.arrays import StoredRows
from quantize.storage import Storage

BLOCK_BYTES = 8 * 1024 * 1024
"""Of codes, read back at a time."""


@dataclass(frozen=True)
class SpooledRows:
    """One tensor's packed codes in a file and its scales in another; see ``ReadyRows``."""

    storage: Storage
    rows: int
    scales_per_row: int
    codes: Path
    scales: Path

    def blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[StoredRows]:
        """All rows in order, some at a time."""
        row_bytes = self.codes.stat().st_size // self.rows
        step = max(1, block_bytes // row_bytes)
        with self.codes.open("rb") as codes, self.scales.open("rb") as scales:
            for start in range(0, self.rows, step):
                count = min(step, self.rows - start)
                read = scales.read(count * self.scales_per_row * 4)
                yield StoredRows(
                    codes.read(count * row_bytes),
                    np.frombuffer(read, np.float32).reshape(count, self.scales_per_row),
                )


def spool(blocks: Iterable[StoredRows], storage: Storage, folder: Path, name: str) -> SpooledRows:
    """Write all rows of one tensor to ``folder``."""
    codes, scales = folder / f"{name}.codes", folder / f"{name}.scales"
    rows = scales_per_row = 0
    with codes.open("wb") as code_file, scales.open("wb") as scale_file:
        for block in blocks:
            code_file.write(block.data)
            scale_file.write(block.scales.tobytes())
            rows, scales_per_row = rows + block.rows, block.scales.shape[1]
    return SpooledRows(storage, rows, scales_per_row, codes, scales)
