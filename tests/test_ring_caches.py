"""Bundles whose sliding caches are rings: in the stock engine, the reference runtime and the commands.

One bundle for all of it, because its graphs are not shipped; so it has batch signatures as well. It is
compared with the tiny pair's bundle of the same recipe, whose caches hold everything.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from exporter.agreement import LONGEST_CACHE, make_contract
from exporter.bundle.inspection import inspect_bundle
from exporter.bundle.stored_contract import contract_block, parsed_contract
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.configs.config import parse_target
from exporter.checkpoints.pair import Pair
from exporter.cli.main import cli
from exporter.contract.caches import LENGTH_MULTIPLE
from exporter.errors import EngineError
from exporter.options import ExportOptions, SlidingCache
from exporter.verify.rungs.contract import agreed_options
from quantize.builtin_recipes import RECIPES
from runtime_py.batch_run import run_batch
from runtime_py.chat.conversation import Conversation
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.graph_executor import GraphExecutor
from runtime_py.litert.hardware import Hardware
from runtime_py.loop.executor import DraftFeed
from runtime_py.opened_model import open_model
from runtime_py.reference_run import RunSettings, run_reference
from tests.bundles import DRAFT_LENGTH, TINY_DRAFTER, TINY_TARGET, export_tiny, held_out_prompts
from tests.export.command import edit_json

pytestmark = pytest.mark.slow

BATCH, NEW_TOKENS = 2, 96
TURNS = 8
"""Of one conversation: 1,000 tokens, so that rings of 112 slots are gone round nine times."""
ACTIONS = 150
SHORTEST = 128
"""Slots: the shorter prefill."""
REWIND = Path(__file__).parent / "engine_rewind.py"

TOLERANCE = 1e-4
"""Both bundles compute in float32, with sums in another order: 1.2e-5 was measured, in logits up to 20."""

LEAST_WRAPS = 7


@pytest.fixture(scope="module")
def far_target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny target, as if it were trained for as many positions as E2B is."""
    folder = tmp_path_factory.mktemp("far") / "target"
    shutil.copytree(TINY_TARGET, folder)
    config = json.loads((folder / "config.json").read_text())
    edit_json(
        folder / "config.json",
        text_config=config["text_config"] | {"max_position_embeddings": LONGEST_CACHE},
    )
    return folder


@pytest.fixture(scope="module")
def ring(far_target: Path) -> Path:
    options: dict[str, Any] = {"cache_length": 2048, "batch": BATCH}
    options |= {"sliding_cache": SlidingCache.RING, "target_folder": far_target}
    return export_tiny(far_target.parent / "ring.litertlm", "float32", **options)


@pytest.fixture(scope="module")
def full(tiny_bundles: dict[str, Path]) -> Path:
    return tiny_bundles["float32"]


def test_any_order_of_calls_computes_the_same(ring: Path, full: Path) -> None:
    """Prefills with padding, verifies with rejected drafts, drafts, returns, new conversations."""
    choice = random.Random(5)  # noqa: S311
    with (
        open_model(ring, Hardware(threads=1)) as one,
        open_model(full, Hardware(threads=1)) as other,
    ):
        pair = Both(one.executor, other.executor)
        for _ in range(ACTIONS):
            if pair.position > 1800:
                pair.position = pair.written = 0
            getattr(pair, choice.choice(["prefill", "step", "step", "draft", "go_back"]))(choice)
        assert pair.longest > LEAST_WRAPS * one.executor.contract.ring.turn  # type: ignore[union-attr]


class Both:
    """One sequence in two executors, the first with a ring."""

    def __init__(self, *executors: GraphExecutor[Any]) -> None:
        self.executors = [(executor, executor.new_cache()) for executor in executors]
        self.contract = executors[0].contract
        self.position = self.written = self.longest = 0

    def prefill(self, choice: random.Random) -> None:
        tokens = self._tokens(choice, choice.choice([1, 5, 60, 128, 200]))
        for executor, cache in self.executors:
            executor.prefill(cache, tokens, self.position)
        self.position += len(tokens)
        self._wrote(0)

    def step(self, choice: random.Random) -> None:
        tokens = self._tokens(choice, choice.randint(1, DRAFT_LENGTH + 1))
        steps = [
            executor.verify(cache, tokens, self.position) for executor, cache in self.executors
        ]
        assert np.abs(steps[0].logits - steps[1].logits).max() <= TOLERANCE
        self._wrote(DRAFT_LENGTH + 1)
        self.position += choice.randint(1, len(tokens))

    def draft(self, choice: random.Random) -> None:
        if self.position:
            (token,) = self._tokens(choice, 1)
            hidden = np.full(self.contract.hidden_size, 0.1, np.float32)
            drafts = [
                executor.draft_round(DraftFeed(cache, token, hidden, self.position - 1))
                for executor, cache in self.executors
            ]
            assert drafts[0] == drafts[1]

    def go_back(self, choice: random.Random) -> None:
        self.position = choice.randint(
            self.contract.earliest_return(self.written), max(self.position, 0)
        )

    def _tokens(self, choice: random.Random, count: int) -> list[int]:
        return [choice.randrange(self.contract.vocab_size) for _ in range(count)]

    def _wrote(self, slots: int) -> None:
        self.written = max(self.written, self.position + slots)
        self.longest = max(self.longest, self.position)


def test_a_return_that_is_too_long_fails_and_harms_nothing(ring: Path) -> None:
    with open_model(ring, Hardware(threads=1)) as model:
        executor, cache = model.executor, model.executor.new_cache()
        text = list(range(10, 310))
        executor.prefill(cache, text, 0)
        first = executor.earliest_return(len(text))
        before = executor.read_cache(cache)
        for position in (first - 3, 5):
            with pytest.raises(EngineError, match="tf_lite_prefill_decode"):
                executor.decode(cache, 7, position)
        after = executor.read_cache(cache)
        assert all((before[name] == after[name]).all() for name in before)
        executor.decode(cache, 7, first)
        executor.prefill(cache, text[:5], 0)


@pytest.mark.parametrize("mtp", [False, True])
def test_the_engine_answers_the_same_turn_after_turn(ring: Path, full: Path, mtp: bool) -> None:
    prompts = held_out_prompts(24)
    asked = [Conversation(tuple(prompts[:TURNS])), Conversation.asking("\n".join(prompts[:20]))]
    runs = [
        run_engine(EngineSettings(bundle, mtp, NEW_TOKENS, threads=2), asked)
        for bundle in (ring, full)
    ]
    replies = list(chain(*runs[0].replies))
    assert runs[0].texts == runs[1].texts
    assert runs[0].success_rate == runs[1].success_rate
    agreed = inspect_bundle(ring).contract
    assert agreed is not None
    assert agreed.ring is not None
    assert replies[TURNS - 1].context_tokens > LEAST_WRAPS * agreed.ring.turn


def test_the_engine_goes_back_rightly_or_fails(ring: Path, full: Path) -> None:
    """By what the ring still holds; the session after a failure is right again."""
    prompts = held_out_prompts(24)
    first, second = (
        "<|turn>user\n" + "\n".join(prompts[:14]),
        f"\n{prompts[15]}<turn|>\n<|turn>model\n",
    )
    back = ["5", "30", "38", "40", "42", "44", "47", "60", "300", "5"]
    said = []
    for bundle in (ring, full):
        command = [sys.executable, str(REWIND), str(bundle), first, second, *back]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        said.append(json.loads(done.stdout))
    assert said[0][7:9] == [None, None]
    assert None not in said[1]
    assert [*said[0][:7], said[0][9]] == [*said[1][:7], said[1][9]]
    assert len(set(said[1])) > 5  # what is gone back over matters


def test_verify_passes(ring: Path, far_target: Path) -> None:
    checkpoints = ["--target", str(far_target), "--drafter", str(TINY_DRAFTER)]
    done = CliRunner().invoke(cli, ["verify", str(ring), *checkpoints, "--threads", "1"])
    assert done.exit_code == 0, done.output


def test_several_sequences_at_once(ring: Path) -> None:
    asked = [Conversation.asking(prompt) for prompt in held_out_prompts(6)]
    settings = RunSettings(DRAFT_LENGTH, NEW_TOKENS)
    with open_model(ring, Hardware(threads=2)) as model:
        together, one_by_one = (
            run_batch(model, settings, asked),
            run_reference(model, settings, asked),
        )
    assert together.texts == one_by_one.texts


def test_from_the_length_of_a_prefill_to_all_positions(ring: Path) -> None:
    found = inspect_bundle(ring).contract
    assert found is not None
    assert found.cache_lengths == (range(SHORTEST, 131101),)
    asked = [Conversation.asking(prompt) for prompt in held_out_prompts(3)]
    texts = [
        run_engine(EngineSettings(ring, mtp, 40, threads=2, max_num_tokens=slots), asked).texts
        for slots, mtp in ((None, True), (SHORTEST, True), (LONGEST_CACHE, True))
    ]
    assert texts[0] == texts[1] == texts[2]
    with open_model(ring, Hardware(threads=2), cache_length=SHORTEST) as model:
        answers = run_reference(model, RunSettings(DRAFT_LENGTH, 40), asked).texts
    assert all(own and text.startswith(own) for own, text in zip(answers, texts[0], strict=True))


def test_a_long_prompt_in_the_longest_cache(ring: Path, full: Path) -> None:
    """Both prefills, MTP off, since its last tokens depend on where a round ends."""
    asked = [Conversation.asking("\n".join(held_out_prompts(24) * 2))]
    far = run_engine(
        EngineSettings(ring, False, 40, threads=2, max_num_tokens=LONGEST_CACHE), asked
    )
    assert far.texts == run_engine(EngineSettings(full, False, 40, threads=2), asked).texts
    assert far.replies[0][0].prefill_tokens > 1024


def test_it_is_made_again_from_its_manifest(ring: Path, far_target: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.litertlm"
    pair = ["--target", str(far_target), "--drafter", str(TINY_DRAFTER)]
    done = CliRunner().invoke(cli, ["rebuild", str(ring), "-o", str(again), *pair])
    assert done.exit_code == 0, done.output
    assert again.read_bytes() == ring.read_bytes()


def test_inspect_shows_the_rings(ring: Path) -> None:
    found = inspect_bundle(ring)
    assert not found.problems
    agreed = found.contract
    assert agreed is not None
    assert parsed_contract(contract_block(agreed)) == agreed
    shown = CliRunner().invoke(cli, ["inspect", str(ring)]).output
    assert "2048 slots unless the app asks for 128 to 131100, in" in shown
    assert "float32, 512 a slot, 1,147,392 bytes at 2048" in shown
    assert "rings of 128 slots, 98,816 bytes" in shown


def test_longer_rings_can_be_gone_back_in_further() -> None:
    target = parse_target(json.loads((TINY_TARGET / "config.json").read_text()), "target")
    pair = Pair.of(open_checkpoint(TINY_TARGET), None)
    options = ExportOptions(RECIPES["float32"], sliding_cache=SlidingCache.RING)
    for tokens in (0, 40, 1000):
        agreed = make_contract(target, None, replace(options, rewind_tokens=tokens))
        assert make_contract(target, None, agreed_options(agreed, pair)) == agreed
        assert agreed.ring is not None
        written = (
            5000  # by a turn of so many tokens, a verify behind it, and what a stop token took back
        )
        assert agreed.earliest_return(written) <= written - tokens - 2 * (DRAFT_LENGTH + 1)
        assert agreed.earliest_return(written) > written - tokens - 2 * LENGTH_MULTIPLE - 16


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--accelerator", "gpu"), "leave out --sliding-cache ring"),
        (("--format", "onnx"), "--sliding-cache ring needs --format litertlm"),
    ],
)
def test_what_is_refused(options: tuple[str, str], said: str, tmp_path: Path) -> None:
    arguments = ["export", str(TINY_TARGET), str(TINY_DRAFTER), "-o", str(tmp_path / "x.litertlm")]
    done = CliRunner().invoke(cli, [*arguments, "--sliding-cache", "ring", *options])
    assert done.exit_code
    assert said in done.output + str(done.exception)
    assert not list(tmp_path.iterdir())
