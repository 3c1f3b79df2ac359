"""Digits beyond position 2,000 in float16, whose whole numbers end at 2,048."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.contract.names import Accelerator
from exporter.verify.rung import Verdict
from exporter.verify.rungs.half_precision import judge_logits, last_logits
from runtime_py.chat.conversation import Conversation
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.litert.hardware import Hardware
from runtime_py.opened_model import open_model
from tests.bundles import export_tiny
from tests.gpu.copying_target import BACK, DIGITS, write_copying_target
from tests.once import made_once, shared_folder

CACHE, PREFILL = 2560, 512

ASKED, SAID = 2200, 24
"""Digits of the prompt, and of the answer."""

TURN = 5
"""Tokens of the chat template between the last digit and the answer."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the tiny drafter, which is hardly ever right here: every round rejects its drafts."""

    def make(output: Path) -> None:
        export_tiny(
            output,
            "float32",
            target_folder=write_copying_target(tmp_path_factory.mktemp("copying") / "target"),
            cache_length=CACHE,
            prefill_lengths=(PREFILL,),
            accelerator=Accelerator.GPU,
        )

    return made_once(shared_folder(tmp_path_factory) / "copying-gpu.litertlm", make)


@pytest.fixture(scope="module")
def digits() -> str:
    chosen = np.random.default_rng(1).integers(len(DIGITS), size=ASKED)
    return "".join(DIGITS[value] for value in chosen)


def test_the_engine_says_the_right_digits_in_float16(bundle: Path, digits: str) -> None:
    settings = EngineSettings(bundle, True, SAID, Accelerator.GPU, threads=2)
    (reply,) = run_engine(settings, [Conversation.asking(digits)]).replies[0]
    first = ASKED + TURN - (BACK + 1)
    expected = digits[first : first + SAID]
    assert reply.text[:SAID] == expected


def test_float16_is_float32_at_position_2200(bundle: Path, digits: str) -> None:
    found = {}
    for float16 in (False, True):
        with open_model(bundle, Hardware(Accelerator.GPU, float16=float16)) as model:
            tokens = model.tokenizer.encode_prompt(digits)[:ASKED]
            found[float16] = last_logits(model.executor, tokens)
    rung = judge_logits(found[True], found[False], ASKED)
    assert rung.verdict is Verdict.PASS
    assert not rung.near_ties
    places = range(ASKED - len(found[True]), ASKED)
    assert found[True].argmax(1).tolist() == [tokens[place - BACK] for place in places]
