"""E2B and E4B at full width, saved by the installed transformers: planned with the graphs that ship."""

from __future__ import annotations

from collections.abc import Callable
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

from exporter.agreement import choose_head, make_contract
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.litertlm.graphs import LitertGraphs
from exporter.lowering.graph_cache import find_shipped
from exporter.lowering.units import LoweringRequest, litert_units
from exporter.options import ExportOptions
from exporter.pipeline import check_graphs
from exporter.plan.export_plan import ExportPlan, make_plan
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


def plan(folder: Path) -> ExportPlan:
    target, drafter = open_checkpoint(folder / "target"), open_checkpoint(folder / "drafter")
    with TensorReader() as reader:
        output = folder / "out.litertlm"
        return make_plan(Pair.of(target, drafter), output, OPTIONS, reader, SilentReporter())


@pytest.mark.parametrize(
    ("size", "text_only"), [("e4b", False), ("e2b", True)], ids=["multimodal", "text-only"]
)
def test_full_size_checkpoints_have_shipped_graphs(
    size: str, text_only: bool, tmp_path: Path
) -> None:
    """No torch is needed: the plan asks for graphs that are in the package and finds their weights."""
    target, drafter = PUBLISHED[size]
    write_sparse(target_model(target, text_only=text_only), tmp_path / "target", TINY_TARGET)
    write_sparse(drafter_model(drafter), tmp_path / "drafter", TINY_TARGET)
    planned = plan(tmp_path)
    graphs = find_shipped(planned.request, list(litert_units(planned.request.contract)))
    assert graphs is not None, "stale: run scripts/ship_graphs.py"
    check_graphs(LitertGraphs(graphs), planned.graph_weights())


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("size", sorted(PUBLISHED))
def test_every_form_has_shipped_graphs(size: str, form: Callable[[Json], Json]) -> None:
    target_json, drafter_json = (in_form(config, form) for config in PUBLISHED[size])
    target, drafter = parse_target(target_json, "target"), parse_drafter(drafter_json, "drafter")
    contract = make_contract(target, drafter, OPTIONS).as_lowered()
    request = LoweringRequest(target, drafter, choose_head(drafter, OPTIONS), contract)
    found = find_shipped(request, list(litert_units(contract)))
    assert found is not None, "stale: run scripts/ship_graphs.py"
