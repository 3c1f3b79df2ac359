"""The stock engine on the GPU, MTP off and on, against the graphs for the CPU."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from exporter.contract.names import Accelerator
from exporter.errors import EngineError
from runtime_py.chat.conversation import Conversation
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.reply import RunResult
from runtime_py.same_text import ReplyLimits, same_text
from tests.bundles import DRAFT_LENGTH, SHORT_CACHE, held_out_prompts

PROMPTS, NEW_TOKENS = 3, 24
LIMITS = ReplyLimits(NEW_TOKENS, SHORT_CACHE, DRAFT_LENGTH)

LEAST_SUCCESS_RATE = 0.5
"""As on the CPU (``tests/test_engine.py``): a drafter that reads a stale bank is hardly ever right."""


def answers(bundle: Path, accelerator: Accelerator, *, mtp: bool) -> RunResult:
    settings = EngineSettings(bundle, mtp, NEW_TOKENS, accelerator, threads=2)
    return run_engine(settings, [Conversation.asking(p) for p in held_out_prompts(PROMPTS)])


def assert_same_texts(ours: RunResult, reference: RunResult) -> None:
    pairs = list(zip(chain(*reference.replies), chain(*ours.replies), strict=True))
    assert len(pairs) == PROMPTS
    assert not [(off.text, on.text) for off, on in pairs if not same_text(off, on, LIMITS)]


def assert_drafter_works(found: RunResult) -> None:
    assert found.success_rate is not None
    assert found.success_rate >= LEAST_SUCCESS_RATE


def test_mtp_changes_no_text(gpu_bundles: dict[str, Path]) -> None:
    """In int4; ``test_commands`` compares float32 with itself, ``test_official_command`` int8."""
    off, on = (answers(gpu_bundles["int4"], Accelerator.GPU, mtp=mtp) for mtp in (False, True))
    assert_same_texts(on, off)
    assert_drafter_works(on)


def test_the_text_is_that_of_the_cpu(gpu_bundles: dict[str, Path], short_bundle: Path) -> None:
    """The engine's float16 included; several texts share its one bank."""
    gpu = answers(gpu_bundles["float32"], Accelerator.GPU, mtp=True)
    assert_same_texts(gpu, answers(short_bundle, Accelerator.CPU, mtp=False))
    assert_drafter_works(gpu)


def test_the_engine_says_that_these_graphs_are_not_for_the_cpu(
    gpu_bundles: dict[str, Path],
) -> None:
    """Why there are bundles of two kinds: it could not run them there ("lacks data")."""
    with pytest.raises(EngineError, match="constraint mismatch"):
        answers(gpu_bundles["float32"], Accelerator.CPU, mtp=False)
