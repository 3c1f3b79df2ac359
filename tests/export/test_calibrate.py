"""Calibration: it runs the models as they are, and its codes keep the target's hidden states."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from exporter.bundle.reader import open_bundle
from exporter.calibrate.calibration import Models, calibrate, work
from exporter.calibrate.choice import CodeChoices
from exporter.calibrate.drafter_pass import DrafterPass
from exporter.calibrate.inputs import InputSums
from exporter.calibrate.spool import spool
from exporter.calibrate.target_pass import ReadSequence, TargetPass
from exporter.calibrate.text import LEAST_TOKENS, MOST_SEQUENCES, SEQUENCE, read_text
from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.assets.assets import Assets, read_assets
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import Section
from exporter.errors import RecipeError
from exporter.options import ExportOptions
from exporter.pipeline import export
from exporter.verify.sides.stored_weights import stored_constants
from exporter.weights.matching import Weight, Weights, find_weights
from exporter.weights.parameters import parameter_specs
from quantize.arrays import store_rows
from quantize.builtin_recipes import FLOAT32, built_in
from quantize.recipe import Recipe, Rule
from quantize.storage import Storage
from runtime_py.chat.conversation import Conversation
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.same_text import ReplyLimits, same_text
from tests import pairs as pair_files
from tests.bundles import CACHE_LENGTH, DRAFT_LENGTH, TINY_DRAFTER, TINY_TARGET, held_out_prompts
from tests.eager import Eager

SAME = 1e-4
"""Of the largest value: float32 on both sides, sums in another order."""

ANSWER_TOKENS = 80
UNSEEN = 12
"""Chats that are not calibrated with: about one sequence."""

LEFT = 0.9
"""Largest part of the clipped codes' error of hidden states that GPTQ may leave. The tiny model's inputs
are little correlated, so there is less to gain than in a large one."""

WORDS = "The fox met a bear in the valley. It found a rope and a kite there, and was glad. "


@dataclass(frozen=True)
class Opened:
    """A pair of checkpoints with every weight of its graphs."""

    pair: Pair
    weights: Weights


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    """No gradients; one thread, because the models are too small to share out."""
    torch.set_num_threads(1)
    with torch.no_grad():
        yield


@contextmanager
def opened(target: Path, drafter: Path) -> Iterator[Opened]:
    pair = Pair.of(open_checkpoint(target), open_checkpoint(drafter))
    specs = parameter_specs(pair.target_config, pair.drafter_config, HeadKind.CENTROID)
    with TensorReader() as reader:
        yield Opened(pair, find_weights(specs, pair.target, pair.drafter, reader))


def sequences(*lengths: int) -> tuple[tuple[int, ...], ...]:
    source = np.random.default_rng(0)
    return tuple(
        tuple(int(n) for n in source.integers(0, pair_files.VOCABULARY, length))
        for length in lengths
    )


def read(found: Opened, recipe: Recipe, folder: Path, tokens: tuple[int, ...]) -> ReadSequence:
    """One sequence through the target, as a recipe will store it."""
    choices = CodeChoices(recipe, folder, lambda count: None)
    return TargetPass(found.pair.target_config, found.weights, choices).run((tokens,))[0]


def close(ours: Tensor, reference: Tensor) -> bool:
    return float((ours - reference).abs().max()) <= SAME * float(reference.abs().max())


def test_the_target_is_run_as_it_is(pair: pair_files.Pair, eager: Eager, tmp_path: Path) -> None:
    """Layer by layer with float weights, beyond the window: the whole model's states and caches."""
    tokens = sequences(pair_files.WINDOW * 2)[0]
    with opened(pair.target, pair.drafter) as found:
        reading = read(found, FLOAT32, tmp_path, tokens)
        step = eager.forward(torch.tensor(tokens), 0, eager.empty_caches())
    assert close(reading.x, step.hidden)
    for layer, kv in reading.caches.items():
        assert close(kv.keys, step.caches[layer].keys[:, :, : len(tokens)])
        assert close(kv.values, step.caches[layer].values[..., : len(tokens)])


def test_the_drafter_sees_what_it_will_see(
    pair: pair_files.Pair, eager: Eager, tmp_path: Path
) -> None:
    """Every hidden state of two steps from every position, against the drafter step by step."""
    tokens, steps = sequences(pair_files.WINDOW + 20)[0], 2
    with opened(pair.target, pair.drafter) as found:
        reading = read(found, FLOAT32, tmp_path, tokens)
        config, target = found.pair.drafter_config, found.pair.target_config
        assert config is not None
        choices = Kept(FLOAT32, tmp_path, lambda count: None)
        drafter_weights = found.weights[Section.MTP_DRAFTER]
        DrafterPass(config, target, drafter_weights, choices).run([reading], steps)
        expected = outer_products_of_projections(eager, tokens, steps)
    projection = eager.drafters[HeadKind.FULL].post_projection.weight
    found_sum = projection @ choices.sums["lm_head"].total("lm_head") @ projection.T
    assert close(found_sum, expected)


@dataclass
class Kept(CodeChoices):
    """Keeps the sums of inputs that it is given."""

    sums: dict[str, InputSums] = field(default_factory=dict)

    def choose(self, weight: Weight, sums: InputSums, matrix: str) -> None:
        self.sums[matrix] = sums


def outer_products_of_projections(eager: Eager, tokens: tuple[int, ...], steps: int) -> Tensor:
    """``sum P^T P`` over the drafter's projected states, one draft at a time."""
    text = torch.tensor(tokens)
    step = eager.forward(text, 0, eager.empty_caches())
    total = torch.zeros(step.hidden.shape[-1], step.hidden.shape[-1])
    for committed in range(1, len(tokens) - steps + 1):
        state = step.hidden[0, committed - 1]
        for ahead in range(steps):
            token = text[committed + ahead]
            draft = eager.draft(HeadKind.FULL, token, state, committed, step.caches)
            state = draft.projected.reshape(-1)
            total += torch.outer(state, state)
    return total


def calibrated(name: str) -> Recipe:
    recipe = built_in(name)
    assert recipe is not None
    return recipe


@dataclass(frozen=True)
class Texts:
    """Chats of the tiny model with itself: one text to calibrate with, another to compare on."""

    seen: Path
    unseen: Path


@pytest.fixture(scope="module")
def texts(tiny_bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Texts:
    """Prompts with the answers that the float model gives."""
    folder, prompts = tmp_path_factory.mktemp("texts"), held_out_prompts(100)
    settings = EngineSettings(tiny_bundles["float32"], False, ANSWER_TOKENS, threads=2)
    replies = run_engine(settings, [Conversation.asking(prompt) for prompt in prompts]).replies
    chats = [
        f"<|turn>user\n{prompt}<turn|>\n<|turn>model\n{reply.text}<turn|>\n"
        for prompt, (reply,) in zip(prompts, replies, strict=True)
    ]
    made = Texts(folder / "seen.txt", folder / "unseen.txt")
    made.seen.write_text("".join(chats[UNSEEN:]), encoding="utf-8")
    made.unseen.write_text("".join(chats[:UNSEEN]), encoding="utf-8")
    return made


def test_hidden_states_are_kept(texts: Texts, tmp_path: Path) -> None:
    """On other text, GPTQ's matrices move the target's states less than clipped ones do.

    Tables and the drafter are left as they are, so that only the matrices count.
    """
    errors = {}
    with opened(TINY_TARGET, TINY_DRAFTER) as found:
        assets = read_assets(found.pair.target, found.pair.target_config)
        read_in, unseen = (
            read_text(texts.seen, assets),
            read_text(texts.unseen, assets).sequences[0],
        )
        models = Models(found.pair.target_config, None, 0)
        float_states = read(found, FLOAT32, tmp_path, unseen).x
        for name in ("int4-clip", "int4-gptq"):
            rules = [rule for rule in calibrated(name).rules if "embed" not in rule.pattern]
            tables = Rule("target.embed_tokens*", Storage.FLOAT32)
            recipe = Recipe(name, "", (tables, *rules))
            choices = CodeChoices(recipe, tmp_path, lambda count: None)
            ready = calibrate(found.weights, models, read_in, choices)
            states = read(Opened(found.pair, ready), recipe, tmp_path, unseen).x
            errors[name] = float((states - float_states).square().mean())
    assert errors["int4-gptq"] <= LEFT * errors["int4-clip"], errors


def test_a_calibrated_bundle(texts: Texts, tmp_path: Path) -> None:
    """Exported, it has the codes that were chosen, says so, and runs in the stock engine."""
    options = ExportOptions(
        calibrated("int4-block32-gptq"), draft_length=DRAFT_LENGTH, calibration=texts.seen
    )
    output = tmp_path / "bundle.litertlm"
    export(open_checkpoint(TINY_TARGET), open_checkpoint(TINY_DRAFTER), output, options)
    bundle = open_bundle(output)
    manifest = bundle.manifest()
    assert manifest is not None
    with opened(TINY_TARGET, TINY_DRAFTER) as found:
        read_in = read_text(texts.seen, read_assets(found.pair.target, found.pair.target_config))
        assert manifest["recipe"]["calibration"] == read_in.describe()
        models = Models(found.pair.target_config, found.pair.drafter_config, DRAFT_LENGTH)
        done: list[int] = []
        choices = CodeChoices(options.recipe, tmp_path, done.append)
        ready = calibrate(found.weights, models, read_in, choices)
        assert 0.9 * work(found.weights) <= sum(done) <= work(found.weights)
    stored, count = stored_constants(bundle), 0
    for section, weights in ready.items():
        for weight in weights.values():
            if weight.ready is not None:
                count += 1
                chosen = b"".join(block.data for block in weight.ready.blocks())
                assert bytes(stored[section][weight.name].data) == chosen, weight.name
    assert count == sum(w.is_matrix for s, ws in ready.items() for w in ws.values()) - 2
    assert_same_text(output)


def assert_same_text(bundle: Path) -> None:
    """MTP on and off."""
    asked = [Conversation.asking(prompt) for prompt in held_out_prompts(4)]
    off, on = (
        run_engine(EngineSettings(bundle, mtp, 40, threads=2), asked) for mtp in (False, True)
    )
    limits = ReplyLimits(40, CACHE_LENGTH, DRAFT_LENGTH)
    for plain, drafted in zip(off.replies, on.replies, strict=True):
        assert all(same_text(a, b, limits) for a, b in zip(plain, drafted, strict=True))
    assert on.success_rate is not None


@pytest.mark.parametrize("storage", [Storage.INT4, Storage.INT4_BLOCK32, Storage.FLOAT32])
def test_spooled_rows_come_back(storage: Storage, tmp_path: Path) -> None:
    """In blocks of another size than they were written in."""
    rows = np.random.default_rng(0).normal(size=(17, 64)).astype(np.float32)
    blocks = [store_rows(part, storage) for part in (rows[:3], rows[3:])]
    spooled = spool(blocks, storage, tmp_path, "rows")
    back = list(spooled.blocks(block_bytes=100))
    assert b"".join(block.data for block in back) == b"".join(block.data for block in blocks)
    scales, expected = (np.concatenate([b.scales for b in side]) for side in (back, blocks))
    assert np.array_equal(scales, expected)
    assert len(back) > 2


def tiny_assets() -> Assets:
    pair = Pair.of(open_checkpoint(TINY_TARGET), None)
    return read_assets(pair.target, pair.target_config)


class TestText:
    """What is read of a file."""

    def test_sequences(self, tmp_path: Path) -> None:
        """Each begins as a text does; together they are the file's first tokens."""
        file = tmp_path / "long.txt"
        file.write_text(WORDS * 2000, encoding="utf-8")
        assets = tiny_assets()
        found = read_text(file, assets).sequences
        assert len(found) == MOST_SEQUENCES
        assert {len(sequence) for sequence in found} == {SEQUENCE}
        assert {sequence[0] for sequence in found} == {assets.ids.bos}
        assert found[0][1:] != found[1][1:]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"too short", f"{LEAST_TOKENS} tokens or more, found"),
            (b"\xff\xfe\x00", "expected a calibration text in UTF-8"),
        ],
    )
    def test_what_is_no_text(self, content: bytes, message: str, tmp_path: Path) -> None:
        file = tmp_path / "text.txt"
        file.write_bytes(content)
        with pytest.raises(RecipeError, match=message):
            read_text(file, tiny_assets())
