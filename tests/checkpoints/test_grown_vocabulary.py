"""Fine-tunes that added tokens: the stock drafter drafts what it knows, the target says the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.checkpoints.pair import Pair, check_pair
from exporter.contract.names import Accelerator
from exporter.errors import CheckpointError, MismatchError
from exporter.model.text.drafter import FLOOR_LOGIT, widened
from exporter.options import ExportOptions
from exporter.pipeline import export
from exporter.progress import SilentReporter
from exporter.verify.evidence import VerifyRequest
from exporter.verify.ladder import climb
from exporter.verify.report import require_parity
from quantize.builtin_recipes import RECIPES
from tests.bundles import TINY_DRAFTER, TINY_TARGET, held_out_prompts
from tests.checkpoints.variants import grown

ADDED = 64
BOTH = ("embed_tokens", "embed_tokens_per_layer")
"""The tables that transformers' resize_token_embeddings adds rows to."""


def test_the_pair_is_told(tmp_path: Path) -> None:
    target = open_checkpoint(grown(tmp_path, ADDED, BOTH))
    (note,) = Pair.of(target, open_checkpoint(TINY_DRAFTER)).notes()
    assert note.startswith("the target has 2112 tokens, 64 more than the drafter was trained with")
    assert Pair.of(target, None).notes() == []


def test_a_target_that_lost_tokens() -> None:
    """The drafter would draft tokens that the target has no rows for."""
    config = json.loads((TINY_TARGET / "config.json").read_text())
    config["text_config"] |= {"vocab_size": 1984, "vocab_size_per_layer_input": 1984}
    drafter = parse_drafter(json.loads((TINY_DRAFTER / "config.json").read_text()), "drafter")
    with pytest.raises(
        MismatchError, match="vocabulary size: the drafter has 2048, the target has 1984"
    ):
        check_pair(parse_target(config, "target"), drafter)


def test_tokens_without_per_layer_embeddings(tmp_path: Path) -> None:
    """Transformers fails at such a token, and so would a bundle, with or without a drafter."""
    target = open_checkpoint(grown(tmp_path, ADDED, BOTH[:1]))
    with pytest.raises(
        CheckpointError, match=r"each of 2112 tokens.*found 2048.*resize_token_embeddings"
    ):
        Pair.of(target, None)


def test_unknown_tokens_are_never_the_likeliest() -> None:
    logits = torch.full((2, 1, 5), FLOOR_LOGIT + 1)
    wide = widened(logits, 8)
    assert wide.shape == (2, 1, 8)
    assert torch.equal(wide[..., :5], logits)
    assert (wide[..., 5:] == FLOOR_LOGIT).all()
    assert widened(logits, 5) is logits


@pytest.mark.slow
def test_in_the_engine_and_against_transformers(tmp_path: Path) -> None:
    """MTP on gives the text of MTP off, and every rung passes; the graphs are lowered for it."""
    target = open_checkpoint(grown(tmp_path / "target", ADDED, BOTH))
    drafter, output = open_checkpoint(TINY_DRAFTER), tmp_path / "x.litertlm"
    short = ExportOptions(
        RECIPES["float32"], cache_length=512, fixed_cache_length=True, prefill_lengths=(64,)
    )
    export(target, drafter, output, short)
    prompts = tuple(held_out_prompts(2))
    request = VerifyRequest(output, target, drafter, prompts, Accelerator.CPU, 2, 32)
    report = climb(request, SilentReporter())
    require_parity(report)
    verdicts = {rung["key"]: rung["verdict"] for rung in report.to_json()["rungs"]}
    assert verdicts["engine"] == verdicts["drafter"] == "pass"
