"""A drafter is tuned to a target in disguise; what the report says of it is what the runtimes find."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from exporter.bundle.reader import open_bundle
from exporter.checkpoints.checkpoint import TUNING, open_checkpoint
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import Section
from exporter.tune.answers import Answer, AnswerFile
from exporter.tune.chain import Source
from exporter.tune.drafter_weights import load_drafter
from exporter.tune.features import FeatureFile
from exporter.tune.judge import Judged, judge
from exporter.tune.questions import prompt_tokens
from exporter.tune.split import split, unique, usable
from exporter.tune.target_reading import TargetReader
from exporter.tune.tuning import pair_weights
from quantize.builtin_recipes import RECIPES
from runtime_py.chat.conversation import Conversation
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.litert.hardware import Hardware
from runtime_py.loop.rounds import Acceptance
from runtime_py.opened_model import open_model
from runtime_py.reference_run import RunSettings, run_reference
from tests.bundles import DRAFT_LENGTH, PROMPT_FILE, TINY_DRAFTER, TINY_TARGET, export_tiny
from tests.command import run
from tests.tune.conftest import CPU, PROMPTS, Tuned, training_prompts

pytestmark = pytest.mark.slow

OF_CLOSED_FORM = 0.9
"""What a tuning must reach of the drafter that undoes the disguise exactly."""

ENGINE_ROUNDING = 0.006
"""The engine prints its rate with two digits."""


@pytest.fixture(scope="module")
def held_out(tuned: Tuned) -> tuple[Answer, ...]:
    """The answers that the tuning held out."""
    with open_model(tuned.work / "target.litertlm", drafting=False) as model:
        questions = [Conversation.asking(line) for line in tuned.prompts]
        prompts = unique(prompt_tokens(model, questions, 1024))
    answers = AnswerFile(tuned.work / "answers.jsonl").read(prompts)
    assert len(answers) == PROMPTS
    return split(usable(answers)).held_out


def judged(tuned: Tuned, drafter: Path, answers: tuple[Answer, ...]) -> Judged:
    """A drafter along the held-out answers, over the features that the tuning kept."""
    pair = Pair.of(open_checkpoint(tuned.target), open_checkpoint(drafter))
    assert pair.drafter_config is not None
    with TensorReader() as reader:
        weights = pair_weights(pair, reader)
        target = TargetReader(pair.target_config, weights, RECIPES["float32"], CPU)
        file = FeatureFile(
            tuned.work / "held_out.features", pair.target_config, answers, torch.float32
        )
        source = Source(file, target.embeddings(answers), CPU)
        loaded = load_drafter(pair.drafter_config, weights[Section.MTP_DRAFTER], CPU)
        return judge(loaded, source, DRAFT_LENGTH)


def test_it_reaches_the_closed_form(tuned: Tuned, held_out: tuple[Answer, ...]) -> None:
    best = judged(tuned, tuned.closed_form, held_out).drafting().acceptance
    stock = judged(tuned, TINY_DRAFTER, held_out).drafting().acceptance
    assert stock < OF_CLOSED_FORM * best
    assert tuned.outcome["gained"]
    assert tuned.acceptance("before") == pytest.approx(stock)
    assert tuned.acceptance("after") >= OF_CLOSED_FORM * best


def test_the_report_is_what_the_runtimes_find(
    tuned: Tuned, held_out: tuple[Answer, ...], tmp_path: Path
) -> None:
    """Round by round in the reference runtime, and the engine's rate; MTP changes no text."""
    bundle = export_tiny(
        tmp_path / "tuned.litertlm",
        "float32",
        target_folder=tuned.target,
        drafter_folder=tuned.drafter,
    )
    found = judged(tuned, tuned.drafter, held_out)
    reported = tuned.outcome["held_out"]["after"]
    assert json.loads(json.dumps(found.drafting().to_json())) == reported
    by_prompt = {answer.prompt: walk for answer, walk in zip(held_out, found.walks, strict=True)}
    with open_model(bundle, Hardware(threads=2)) as model:
        questions = [Conversation.asking(line) for line in tuned.prompts]
        tokens = prompt_tokens(model, questions, 1024)
        asked = [q for q, prompt in zip(questions, tokens, strict=True) if prompt in by_prompt]
        order = [prompt for prompt in tokens if prompt in by_prompt]
        ours = run_reference(model, RunSettings(DRAFT_LENGTH, 512), asked)
    for prompt, (reply,) in zip(order, ours.replies, strict=True):
        drafting = [done for done in reply.rounds if done.drafted]
        assert tuple(done.accepted for done in drafting) == by_prompt[prompt].accepted
        assert tuple(len(done.tokens) for done in drafting) == by_prompt[prompt].emitted
    assert ours.acceptance == Acceptance(*(tuple(reported[k]) for k in ("drafted", "accepted")))
    engine, plain = (
        run_engine(EngineSettings(bundle, mtp, 512, threads=2), asked) for mtp in (True, False)
    )
    assert engine.texts == plain.texts == ours.texts
    assert engine.success_rate == pytest.approx(tuned.acceptance("after"), abs=ENGINE_ROUNDING)
    manifest = open_bundle(bundle).manifest()
    assert manifest is not None
    told = json.loads((tuned.drafter / TUNING).read_text())
    assert manifest["sources"]["drafter"]["tuning"] == told
    assert "tuning" not in manifest["sources"]["target"]


def test_the_folder_is_the_drafters_but_for_what_was_trained(tuned: Tuned) -> None:
    ours, stock = open_checkpoint(tuned.drafter), open_checkpoint(TINY_DRAFTER)
    assert ours.tensors.keys() == stock.tensors.keys()
    assert ours.config == stock.config
    frozen = ("embed_tokens.weight", "token_ordering", "layer_scalar")
    with TensorReader() as reader:
        for name, tensor in ours.tensors.items():
            count = tensor.nbytes // tensor.itemsize
            same = reader.read(tensor, 0, count) == reader.read(stock.tensors[name], 0, count)
            assert same == name.endswith(frozen), name


def test_an_export_with_another_target_warns(tuned: Tuned) -> None:
    drafter = open_checkpoint(tuned.drafter)
    (other,) = Pair.of(open_checkpoint(tuned.folder / "target", "another"), drafter).notes()
    assert "the drafter was tuned to target, and the target is another" in other
    assert Pair.of(open_checkpoint(tuned.target), drafter).notes() == []


def test_what_it_means_in_tokens_a_second(tuned: Tuned) -> None:
    """The measured cost of a round is divided out again: what is left are the tokens of rounds."""
    speeds, held_out = tuned.outcome["speeds"], tuned.outcome["held_out"]
    assert speeds["round_cost"] > 1
    for when in ("before", "after"):
        tokens = speeds[when] / speeds["plain"] * speeds["round_cost"]
        assert tokens == pytest.approx(held_out[when]["tokens_per_round"])


def test_what_it_says_of_the_data(tuned: Tuned) -> None:
    data, effort = tuned.outcome["data"], tuned.outcome["effort"]
    assert data["given"] == PROMPTS
    shares = [data[f"{share}_prompts"] for share in ("training", "watched", "held_out")]
    assert shares == [PROMPTS - 28, 8, 20]
    assert effort["feature_bytes"] == sum(
        file.stat().st_size for file in tuned.work.glob("*.features")
    )
    for example in tuned.outcome["examples"]:
        assert len(example["tokens"]) == len(example["before"]) == len(example["after"])
        assert example["after"][0] == 0
        assert max(example["after"]) <= DRAFT_LENGTH


def test_nothing_to_gain(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    """The pair as it was trained: declined, nothing written, and resumed it ends with the same figures."""
    folder = tmp_path / "there"
    output, work, given, keep = (folder / n for n in ("out", "work", "chats.jsonl", "keep.txt"))
    prompts, general = PROMPT_FILE.read_text().splitlines()[:60], training_prompts(6)
    folder.mkdir()
    given.write_text("".join(f"{json.dumps(_conversation(prompt))}\n" for prompt in prompts))
    keep.write_text("\n".join([*general, prompts[0]]))
    options: dict[str, str | Path] = {
        "--output": output,
        "--conversations": given,
        "--keep": keep,
        "--bundle": tiny_bundles["float32"],
        "--epochs": "1",
        "--work": work,
        "--report": tmp_path / "report.json",
    }
    command = ("tune", TINY_TARGET, TINY_DRAFTER, *(x for pair in options.items() for x in pair))
    declined = run(*command)
    assert declined.returncode == 1
    assert "was not written: the gain is not above two standard errors" in declined.stderr
    assert "within the noise" in declined.stdout
    assert set(folder.iterdir()) == {work, given, keep}
    first = json.loads((tmp_path / "report.json").read_text())
    assert (first["written"], first["gained"]) == (False, False)
    assert first["data"]["given"] == len(prompts)
    assert first["general"]["prompts"] == len(set(general) - set(prompts))
    again = run(*command)
    assert again.returncode == 1
    assert "give --resume to go on" in again.stderr
    forced = run(*command, "--resume", "--force", "--json")
    assert forced.returncode == 0, forced.stderr
    second = json.loads(forced.stdout)
    assert (second["written"], second["gained"]) == (True, False)
    same = {"written": None, "effort": None, "speeds": None}
    assert {**second, **same} == {**first, **same}
    assert (output / TUNING).is_file()


def _conversation(prompt: str) -> list[dict[str, str]]:
    """With an answer, which does not count."""
    said = (("user", prompt), ("assistant", "Nobody says this."))
    return [{"role": role, "content": content} for role, content in said]
