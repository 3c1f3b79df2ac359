"""E2B and E4B at full width, saved by the installed transformers: planned with the graphs that ship."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    Gemma4AssistantConfig,
    Gemma4AssistantForCausalLM,
    Gemma4Config,
    Gemma4ForCausalLM,
    Gemma4ForConditionalGeneration,
    PreTrainedModel,
)

from exporter.bundles.litertlm import LitertGraphs
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.tensor_reader import TensorReader
from exporter.lowering.graph_cache import find
from exporter.options import ExportOptions
from exporter.pair import Pair
from exporter.pipeline import check_graphs
from exporter.plan import Plan, make_plan
from exporter.progress import SilentReporter
from quantize.builtin_recipes import RECIPES
from tests.bundles import TINY_TARGET
from tests.checkpoints.sparse_checkpoint import write_sparse
from tests.checkpoints.written_configs import FORMS, PUBLISHED, Json, in_form

OPTIONS = ExportOptions(RECIPES["int4"], requantize=True)
"""Codes of training are not looked for: that would read ten gigabytes of zeros."""


def target_model(config: Json, *, text_only: bool) -> PreTrainedModel:
    read = Gemma4Config.from_dict(config)
    with torch.device("meta"):
        if text_only:
            return Gemma4ForCausalLM(read.text_config)
        return Gemma4ForConditionalGeneration(read)


def drafter_model(config: Json) -> PreTrainedModel:
    with torch.device("meta"):
        return Gemma4AssistantForCausalLM(Gemma4AssistantConfig.from_dict(config))


def plan(folder: Path) -> Plan:
    target, drafter = open_checkpoint(folder / "target"), open_checkpoint(folder / "drafter")
    with TensorReader() as reader:
        output = folder / "out.litertlm"
        return make_plan(Pair.of(target, drafter), output, OPTIONS, reader, SilentReporter())


def assert_shipped(planned: Plan, no_cache: Path) -> None:
    """No torch is needed: the plan asks for graphs that are in the package, and has their weights."""
    graphs = find(planned.request, no_cache)
    assert graphs is not None, "stale: run scripts/ship_graphs.py"
    check_graphs(LitertGraphs(graphs).weight_specs(), planned.graph_weights())


@pytest.mark.parametrize("text_only", [False, True], ids=["multimodal", "text-only"])
@pytest.mark.parametrize("size", sorted(PUBLISHED))
def test_full_size_checkpoints_have_shipped_graphs(
    size: str, text_only: bool, tmp_path: Path
) -> None:
    """As the installed transformers saves them, and with their configs in every other form."""
    target, drafter = PUBLISHED[size]
    write_sparse(target_model(target, text_only=text_only), tmp_path / "target", TINY_TARGET)
    write_sparse(drafter_model(drafter), tmp_path / "drafter", TINY_TARGET)
    assert_shipped(plan(tmp_path), tmp_path / "no cache")
    for form in FORMS.values():
        for role, config in (("target", target), ("drafter", drafter)):
            written = in_form(config, form)
            if role == "target" and text_only:
                written = {"eos_token_id": [1, 106], **written["text_config"]}
            (tmp_path / role / "config.json").write_text(json.dumps(written))
        assert_shipped(plan(tmp_path), tmp_path / "no cache")
