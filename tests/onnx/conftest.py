"""The shipped tiny pair as ONNX folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.options import OutputFormat
from tests.bundles import export_tiny
from tests.once import made_once, shared_folder

RECIPES = ("float32", "int8", "int4", "int4-block32", "smallest")
"""Every storage: float32, codes of 8, 4 and 2 bits per row, and codes in blocks."""


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By recipe; the graphs are traced once per machine."""

    def make(output: Path) -> None:
        export_tiny(output, output.name, output_format=OutputFormat.ONNX)

    folder = shared_folder(tmp_path_factory) / "onnx"
    folder.mkdir(exist_ok=True)
    return {recipe: made_once(folder / recipe, make) for recipe in RECIPES}
