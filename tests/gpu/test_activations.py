"""``export --activations``: the stock engine computes with what the bundle asks for."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from exporter.contract.names import Accelerator
from exporter.errors import EngineError
from exporter.options import Activations
from exporter.progress import SilentReporter
from exporter.verify.evidence import Evidence, VerifyRequest
from exporter.verify.rung import Rung, Verdict
from exporter.verify.rungs import half_precision
from exporter.verify.sides.golden import ask
from tests.bundles import SHORT_CACHE, SHORT_PREFILLS, TINY_TARGET, export_tiny
from tests.gpu.test_engine import answers, assert_same_texts

LOUD = 2.0**18
"""Takes what it multiplies out of float16's range, and no bit from a bfloat16 or a float32."""


def loud_target(folder: Path) -> Path:
    """The tiny target with louder MLPs, whose outputs are normed: in float32 nothing changes."""
    shutil.copytree(TINY_TARGET, folder)
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if name.endswith("mlp.down_proj.weight"):
            tensor *= LOUD
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_the_engine_computes_with_what_the_bundle_asks_for(
    short_bundle: Path, tmp_path: Path
) -> None:
    """In float16 the loud target has no logits but NaN, and the engine finds no token to say."""
    target, bundles = loud_target(tmp_path / "target"), dict[Activations, Path]()
    for asked in Activations:
        bundles[asked] = export_tiny(
            tmp_path / f"{asked}.litertlm",
            "float32",
            target_folder=target,
            cache_length=SHORT_CACHE,
            prefill_lengths=SHORT_PREFILLS,
            accelerator=Accelerator.GPU,
            activations=asked,
        )
    right = answers(short_bundle, Accelerator.CPU, mtp=False)
    assert_same_texts(answers(bundles[Activations.FLOAT32], Accelerator.GPU, mtp=True), right)
    with pytest.raises(EngineError, match="the engine says"):
        answers(bundles[Activations.FLOAT16], Accelerator.GPU, mtp=True)
    request = VerifyRequest(
        bundles[Activations.FLOAT16], None, None, ("x",), Accelerator.GPU, 2, max_new_tokens=1
    )
    assert judged(request).verdict is Verdict.FAIL
    full = replace(request, bundle=bundles[Activations.FLOAT32])
    assert judged(full).note == half_precision.ASKS_FOR_FLOAT32


def judged(request: VerifyRequest) -> Rung:
    with ExitStack() as stack:
        return half_precision.judge(Evidence(request, SilentReporter(), ask, stack))
