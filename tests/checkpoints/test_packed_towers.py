"""Towers that a checkpoint holds as integer codes: these are stored as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers.integrations.gemma_quant import QuantizedLinear

from exporter.bundle.reader import open_bundle
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.contract.names import Section
from exporter.options import ExportOptions
from exporter.pipeline import export
from exporter.verify.rung import Verdict
from exporter.verify.rungs import weights
from exporter.verify.sides.stored_weights import stored_constants
from quantize.arrays import unpack
from quantize.builtin_recipes import RECIPES
from tests.audio.bundles import SECONDS
from tests.audio.targets import CLIPPED as HEARING
from tests.audio.targets import add_tower
from tests.audio.targets import random_tower as random_ears
from tests.bundles import TINY_DRAFTER
from tests.once import lowering
from tests.packed_target import E2B_BITS, TOWER_BITS, TOWERS_KEPT, write_packed
from tests.verify.judging import judged
from tests.vision.bundles import TOKENS
from tests.vision.targets import CLIPPED as SEEING
from tests.vision.targets import random_tower, write_target

BITS = {"int8": 8, "int4": 4, "int2": 2}
PREFIXES = {"model.vision_tower.encoder.": "vision.", "model.audio_tower.": "audio."}


@pytest.mark.slow
def test_codes_of_towers_are_kept(tmp_path: Path) -> None:
    """Every one, as transformers unpacks them; the rest is what the recipe says, and right."""
    source = write_target(tmp_path / "float", SEEING, random_tower(SEEING, seed=0))
    add_tower(source, HEARING, random_ears(HEARING, seed=2))
    packed = write_packed(source, tmp_path / "target", {**TOWER_BITS, **E2B_BITS}, kept=TOWERS_KEPT)
    options = ExportOptions(RECIPES["float32"], image_tokens=TOKENS, audio_seconds=SECONDS)
    bundle = tmp_path / "packed.litertlm"
    with lowering():
        export(open_checkpoint(packed.folder), open_checkpoint(TINY_DRAFTER), bundle, options)
    sections = stored_constants(open_bundle(bundle))
    stored = {
        **sections[Section.VISION_ENCODER],
        **sections[Section.AUDIO_ENCODER],
    }
    compared = dict.fromkeys(BITS.values(), 0)
    for name, module in packed.model.named_modules():
        before = next((prefix for prefix in PREFIXES if name.startswith(prefix)), None)
        if isinstance(module, QuantizedLinear) and before is not None:
            constant = stored[f"{PREFIXES[before]}{name.removeprefix(before)}.weight"]
            theirs = module._dequantize_weights(torch.float32).numpy()
            assert BITS[constant.dtype] == module.num_bits, name
            codes = unpack(constant.data.tobytes(), module.num_bits, theirs.shape)
            np.testing.assert_array_equal(
                codes * constant.scales.astype(np.float32), theirs, err_msg=name
            )
            compared[module.num_bits] += 1
    assert compared == {8: 3 * 7, 4: 2, 2: 2 * 9}
    assert judged(bundle, packed.folder, weights)["weights"].verdict is Verdict.PASS
