"""What the tests of lowering ask for."""

from __future__ import annotations

import pytest

from exporter.agreement import make_contract
from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.lowering.units import LoweringRequest
from exporter.options import ExportOptions
from quantize.builtin_recipes import RECIPES
from tests.bundles import TINY_DRAFTER, TINY_TARGET


@pytest.fixture(scope="module")
def request_() -> LoweringRequest:
    """What the tiny pair asks of the converter, with short sequences to keep it cheap."""
    target = parse_target(open_checkpoint(TINY_TARGET).config, "target")
    drafter = parse_drafter(open_checkpoint(TINY_DRAFTER).config, "drafter")
    options = ExportOptions(RECIPES["int8"], cache_length=128, prefill_lengths=(8,))
    contract = make_contract(target, drafter, options)
    return LoweringRequest(target, drafter, HeadKind.CENTROID, contract)
