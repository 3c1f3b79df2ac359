"""Bundles of the tiny pair with rules of a test's own."""

from __future__ import annotations

from pathlib import Path

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.options import ExportOptions
from exporter.pipeline import export
from quantize.recipe import Recipe, Rule
from quantize.storage import Storage
from tests.bundles import TINY_DRAFTER, TINY_TARGET


def export_rules(folder: Path, *rules: tuple[str, str]) -> Path:
    """A bundle in which tensors matching a pattern are stored so, and all others as float32."""
    made = tuple(Rule(pattern, Storage(storage)) for pattern, storage in rules)
    options = ExportOptions(Recipe("rules", "", made))
    checkpoints = open_checkpoint(TINY_TARGET), open_checkpoint(TINY_DRAFTER)
    return export(*checkpoints, folder / "rules.litertlm", options).output
