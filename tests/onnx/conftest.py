"""The shipped tiny pair as ONNX folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.output_format import OutputFormat
from tests.bundles import export_tiny

RECIPES = ("float32", "int8", "int4", "int4-block32", "smallest")
"""Every storage: float32, codes of 8, 4 and 2 bits per row, and codes in blocks."""


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By recipe; the graphs are traced once per machine."""
    made = tmp_path_factory.mktemp("onnx")
    return {
        recipe: export_tiny(made / recipe, recipe, output_format=OutputFormat.ONNX)
        for recipe in RECIPES
    }
