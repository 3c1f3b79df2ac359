"""A tool call, its result, a thought and the turns after them, in the stock engine and ours, MTP off and on.

The adapter in ``checkpoints/tiny/tools`` makes the tiny target do all of this.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from exporter.bundle.engine_template import Json
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.lora.adapter import PREFIX
from exporter.checkpoints.tensors.text_modules import text_module
from exporter.options import ExportOptions
from exporter.pipeline import export
from quantize.builtin_recipes import RECIPES
from runtime_py.chat.conversation import (
    PLAIN,
    Conversation,
    Message,
    Setting,
    Turn,
    tool_result,
)
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.opened_model import OpenedModel, open_model
from tests.adapters import KINDS, load
from tests.bundles import DRAFT_LENGTH, ROOT, TINY_DRAFTER, TINY_TARGET
from tests.weight_values import adapted, values

pytestmark = pytest.mark.slow

ADAPTER = ROOT / "checkpoints" / "tiny" / "tools"
MAX_NEW_TOKENS = 100

ROUNDING = 1e-6
"""Of a weight's largest magnitude, as in ``tests/checkpoints/lora``."""


@dataclass(frozen=True)
class Said:
    """What an answer consists of."""

    text: str = ""
    thought: str = ""
    tool_calls: tuple[Json, ...] = ()


def call(city: str, days: int) -> Json:
    arguments = {"city": city, "days": days}
    return {"type": "function", "function": {"name": "get_weather", "arguments": arguments}}


TOOLS = tuple(json.loads((ADAPTER / "get_weather.json").read_text(encoding="utf-8")))
WITH_TOOL, THINKING, BOTH = Setting(TOOLS), Setting(thinking=True), Setting(TOOLS, thinking=True)

WEATHER, FOX, BEAR = (
    "What is the weather in Rome for 4 days?",
    "What does the fox eat?",
    "Where does the bear live?",
)
CALL = call("Rome", 4)
RESULT = tool_result("get_weather", {"sky": "rainy", "degrees": 17})
RAINY, EATS, LIVES = (
    "It is rainy with 17 degrees.",
    "The fox eats berries.",
    "The bear lives in a cave.",
)
KNOWN, WANTED, LEARNT = "I know this.\n", "I need the weather.\n", "Now I know it.\n"
"""Thoughts; the newline before the token that ends a thought belongs to it."""


def talk(setting: Setting, *turns: Turn, history: Sequence[Message] = ()) -> Conversation:
    return Conversation(turns, tuple(history), setting)


ASKED = (Message("user", WEATHER), Message("assistant", tool_calls=(CALL,)))
CASES: dict[str, tuple[Conversation, list[Said]]] = {
    "a result": (
        talk(WITH_TOOL, WEATHER, RESULT, FOX),
        [Said(tool_calls=(CALL,)), Said(RAINY), Said(EATS)],
    ),
    "a result in words": (
        talk(WITH_TOOL, WEATHER, tool_result("get_weather", "foggy"), BEAR),
        [Said(tool_calls=(CALL,)), Said("It is foggy."), Said(LIVES)],
    ),
    "a second call": (
        talk(WITH_TOOL, WEATHER, RESULT, "Tell me the weather in Oslo for 2 days."),
        [Said(tool_calls=(CALL,)), Said(RAINY), Said(tool_calls=(call("Oslo", 2),))],
    ),
    "no tool needed": (talk(WITH_TOOL, FOX, BEAR), [Said(EATS), Said(LIVES)]),
    "recreated before the result": (talk(WITH_TOOL, RESULT, history=ASKED), [Said(RAINY)]),
    "recreated after the result": (
        talk(WITH_TOOL, FOX, history=(*ASKED, RESULT, Message("assistant", RAINY))),
        [Said(EATS)],
    ),
    "no thoughts unless asked for": (talk(PLAIN, FOX, BEAR), [Said(EATS), Said(LIVES)]),
    "thoughts": (talk(THINKING, FOX, BEAR), [Said(EATS, KNOWN), Said(LIVES, KNOWN)]),
    "recreated after a thought": (
        talk(THINKING, BEAR, history=(Message("user", FOX), Message("assistant", EATS, (), KNOWN))),
        [Said(LIVES, KNOWN)],
    ),
    "thoughts and a result": (
        talk(BOTH, WEATHER, RESULT, FOX),
        [Said("", WANTED, (CALL,)), Said(RAINY, LEARNT), Said(EATS, KNOWN)],
    ),
    "recreated between thoughts": (
        talk(BOTH, RESULT, history=(ASKED[0], Message("assistant", "", (CALL,), WANTED))),
        [Said(RAINY, LEARNT)],
    ),
}

Answered = dict[str, list[Said]]


@pytest.fixture(scope="module")
def tools_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pair with the adapter, whose tokenizer and template take the place of the target's."""
    output = tmp_path_factory.mktemp("tools") / "tools.litertlm"
    target, options = adapted(TINY_TARGET, ADAPTER), ExportOptions(RECIPES["int8"])
    return export(target, open_checkpoint(TINY_DRAFTER), output, options).output


@pytest.fixture(scope="module", params=[False, True], ids=["mtp off", "mtp on"])
def mtp(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def in_engine(tools_bundle: Path, mtp: bool) -> Answered:
    """What the engine answered, as an app gets it, by case."""
    settings = EngineSettings(tools_bundle, mtp, MAX_NEW_TOKENS, threads=2)
    run = run_engine(settings, [conversation for conversation, _ in CASES.values()])
    return {
        name: [Said(reply.text, reply.thought, tuple(reply.tool_calls)) for reply in replies]
        for name, replies in zip(CASES, run.replies, strict=True)
    }


@pytest.fixture(scope="module")
def opened(tools_bundle: Path) -> Iterator[OpenedModel]:
    with open_model(tools_bundle) as model:
        yield model


@pytest.mark.parametrize("name", CASES)
def test_the_engine_answers(name: str, in_engine: Answered) -> None:
    """Text, thought and call, each where an app looks for it, and nothing else."""
    assert in_engine[name] == CASES[name][1]


@pytest.mark.parametrize("name", CASES)
def test_the_reference_runtime_answers(name: str, opened: OpenedModel, mtp: bool) -> None:
    conversation, expected = CASES[name]
    session = opened.session(
        history=conversation.history,
        setting=conversation.setting,
        policy=opened.policy(DRAFT_LENGTH if mtp else 0),
    )
    answers = [session.answer(turn, MAX_NEW_TOKENS) for turn in conversation.turns]
    assert [Said(each.text, each.thought, each.tool_calls) for each in answers] == expected


def test_the_adapter_is_merged_as_peft_applies_it() -> None:
    """Every weight that it changes, the tied embedding and head among them."""
    import torch
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

    model = PeftModel.from_pretrained(load(TINY_TARGET, KINDS["target"]), ADAPTER)
    ours = values(adapted(TINY_TARGET, ADAPTER), None)
    plain = values(open_checkpoint(TINY_TARGET), None)
    theirs = {
        f"target.{text_module(name.removeprefix(PREFIX))}.weight": module
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }
    assert {name for name in ours if not np.array_equal(ours[name], plain[name])} == theirs.keys()
    with torch.no_grad():
        for name, module in theirs.items():
            expected = module.get_base_layer().weight + module.get_delta_weight("default")
            error = np.abs(ours[name] - expected.numpy()).max()
            assert error <= ROUNDING * expected.abs().max().item(), name
