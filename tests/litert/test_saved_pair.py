"""A pair of more than ten layers, as ``save_pretrained`` leaves it, through the whole export.

The tiny pair has eight layers, whose indices nobody pads. The graphs of this one are compared with torch by
the other modules here, and torch with transformers in ``tests/model``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from exporter.bundle.inspection import inspect_bundle
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.contract.caches import KvCache
from exporter.options import ExportOptions
from exporter.pipeline import export
from quantize.builtin_recipes import RECIPES
from tests.bundles import DRAFT_LENGTH, SHORT_PREFILLS, TINY_TARGET
from tests.eager import CACHE_LENGTH
from tests.litert.graphs import HEADS, Bound
from tests.pairs import Pair

SHAPE = "e4b"
OWNERS, FULL = 6, 5
OPTIONS = ExportOptions(
    RECIPES["int4"],
    CACHE_LENGTH,
    SHORT_PREFILLS,
    DRAFT_LENGTH,
    drafter_head=HEADS[SHAPE],
    fixed_cache_length=True,
)
"""Those of the graphs that the other modules run (``bounds``), so that nothing is lowered twice."""


def test_padded_layers_are_exported(
    pairs: dict[str, Pair], bounds: dict[str, Bound], tmp_path: Path
) -> None:
    pair, target = pairs[SHAPE], tmp_path / "target"
    shutil.copytree(pair.target, target)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(TINY_TARGET / name, target / name)
    text = json.loads((target / "config.json").read_text())["text_config"]
    assert list(text["per_layer_config"]) == ["05", "11"]
    output = tmp_path / "saved.litertlm"
    export(open_checkpoint(target), open_checkpoint(pair.drafter), output, OPTIONS)
    inspection = inspect_bundle(output)
    assert inspection.problems == ()
    assert inspection.contract is not None
    assert inspection.contract.kv_caches == tuple(
        KvCache(layer, 2, 64 if layer == FULL else 32, layer != FULL) for layer in range(OWNERS)
    )
