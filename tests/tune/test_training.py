"""Training: interrupted and resumed it is the one that was not, bit for bit; no step, no change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from exporter.checkpoints.checkpoint import TUNING, open_checkpoint, resolve
from exporter.checkpoints.hub import download
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import Section
from exporter.errors import OutputError
from exporter.progress import Advance
from exporter.tune.chain import Batch, Source
from exporter.tune.drafter_folder import DrafterFolder
from exporter.tune.drafter_weights import load_drafter, trained
from exporter.tune.options import Plan, TuneError
from exporter.tune.training import PATIENCE, Progress, Training, planned_steps
from exporter.tune.tuning import pair_weights
from exporter.tune.work_folder import WorkFolder
from tests.adapters import KINDS, make_adapter, save_merged
from tests.pairs import Pair as Folders
from tests.tune.conftest import CPU, MakeRead, Read
from tests.tune.random_answers import random_answers

PLAN = Plan(epochs=3, rate=1e-3, draft_length=2, seed=4, step_tokens=60)
ANSWERS = 12
STOPPED_AT = 5
LONG_STEPS = replace(PLAN, epochs=1, step_tokens=1000)


@pytest.fixture(scope="module")
def read(read_random: MakeRead, tmp_path_factory: pytest.TempPathFactory) -> Read:
    return read_random(tmp_path_factory.mktemp("features"), ANSWERS)


def training(read: Read, state: Path, scores: Iterable[float] = (), plan: Plan = PLAN) -> Training:
    """Of a fresh drafter; watched scores come from a list, and rise where that ends."""
    config = read.pair.drafter_config
    assert config is not None
    drafter = load_drafter(config, read.writer.weights, CPU)
    given = iter(scores)
    found = Training(drafter, read.source, plan, lambda d: next(given, float(_some(d))), state)
    found.restore()
    return found


def _some(drafter: torch.nn.Module) -> torch.Tensor:
    """A number that depends on every bit of what is trained."""
    return torch.stack([p.detach().double().abs().sum() for p in drafter.parameters()]).sum()


def test_a_resumed_training_is_the_one_that_was_not_stopped(read: Read, tmp_path: Path) -> None:
    whole = training(read, tmp_path / "whole.pt")
    expected = whole.run(lambda count: None, lambda text: None)
    assert expected.step == len(whole.steps) > STOPPED_AT
    first = training(read, tmp_path / "parts.pt")
    with pytest.raises(KeyboardInterrupt):
        first.run(stopping_at(STOPPED_AT), lambda text: None)
    second = training(read, tmp_path / "parts.pt")
    assert second.progress.step == STOPPED_AT
    found = second.run(lambda count: None, lambda text: None)
    assert without_time(found) == without_time(expected)
    for name, parameter in trained(whole.drafter).items():
        assert torch.equal(parameter, trained(second.drafter)[name]), name
        assert torch.equal(found.best[name], expected.best[name]), name


def test_a_step_that_is_interrupted_has_not_taken_place(read: Read, tmp_path: Path) -> None:
    """Behind its first batch, whose gradients are in no later step."""
    whole = training(read, tmp_path / "whole.pt", plan=LONG_STEPS)
    expected = whole.run(lambda count: None, lambda text: None)
    first = training(read, tmp_path / "parts.pt", plan=LONG_STEPS)
    first.source = InterruptedSource(**vars(read.source))
    with pytest.raises(KeyboardInterrupt):
        first.run(lambda count: None, lambda text: None)
    second = training(read, tmp_path / "parts.pt", plan=LONG_STEPS)
    assert second.progress.step == 0
    for one in (first, second):  # with gradients left behind, and without
        one.source = read.source
        found = one.run(lambda count: None, lambda text: None)
        assert without_time(found) == without_time(expected)
        for name, parameter in trained(whole.drafter).items():
            assert torch.equal(parameter, trained(one.drafter)[name]), name


class InterruptedSource(Source):
    """Of which the first batch is had, and then an interrupt."""

    def batches(
        self, indices: Sequence[int], steps: int, most: int
    ) -> Iterator[tuple[list[int], Batch]]:
        yield next(super().batches(indices, steps, most))
        raise KeyboardInterrupt


def without_time(progress: Progress) -> dict[str, object]:
    return {k: v for k, v in vars(progress).items() if k not in ("seconds", "best")}


def test_everything_but_head_and_scalars_is_trained(read: Read, tmp_path: Path) -> None:
    one = training(read, tmp_path / "state.pt")
    before = {name: p.detach().clone() for name, p in one.drafter.named_parameters()}
    one.run(lambda count: None, lambda text: None)
    same = {n for n, p in one.drafter.named_parameters() if torch.equal(p, before[n])}
    scalars = {name for name in before if name.endswith("layer_scalar")}
    assert same == {"lm_head.weight", "masked_embedding.token_ordering", *scalars}


def test_it_ends_when_nothing_gets_better_and_keeps_the_best(read: Read, tmp_path: Path) -> None:
    scores = [0.1, 0.3, 0.2, 0.3, 0.1, 0.29]
    one = training(read, tmp_path / "state.pt", scores)
    found = one.run(lambda count: None, lambda text: None)
    assert [reading.acceptance for reading in found.course] == scores
    assert found.since_best == PATIENCE
    assert found.step == 5 < len(one.steps)
    other = training(read, tmp_path / "other.pt", scores[:2])
    with pytest.raises(KeyboardInterrupt):
        other.run(stopping_at(1), lambda text: None)
    for name, parameter in trained(other.drafter).items():
        assert torch.equal(parameter, found.best[name])


def stopping_at(step: int) -> Advance:
    """Interrupts after so many steps."""
    seen = 0

    def advance(count: int) -> None:
        nonlocal seen
        seen += count
        if seen == step:
            raise KeyboardInterrupt

    return advance


def test_every_answer_is_in_every_epoch() -> None:
    answers = random_answers(ANSWERS)
    steps = planned_steps(answers, PLAN)
    seen = [index for step in steps for index in step]
    assert sorted(seen) == sorted(list(range(ANSWERS)) * PLAN.epochs)
    assert seen[:ANSWERS] != seen[ANSWERS : 2 * ANSWERS]
    assert steps == planned_steps(answers, PLAN)
    assert steps != planned_steps(answers, Plan(3, 1e-3, 2, 5, 60))


def test_without_a_step_the_checkpoint_stays_as_it_was(read: Read, tmp_path: Path) -> None:
    one = training(read, tmp_path / "state.pt", plan=Plan(0, 1e-3, 2, 0))
    found = one.run(lambda count: None, lambda text: None)
    assert found.step == 0
    output = tmp_path / "drafter"
    read.writer.write(read.writer.rounded(found.best), {"told": 1}, output, force=False)
    source = read.writer.checkpoint.folder
    assert {f.name for f in output.iterdir()} == {TUNING, *(f.name for f in source.iterdir())}
    for file in source.iterdir():
        assert (output / file.name).read_bytes() == file.read_bytes(), file.name
    assert json.loads((output / TUNING).read_text()) == {"told": 1}


def test_an_adapter_of_the_drafter_is_merged(pairs: dict[str, Folders], tmp_path: Path) -> None:
    """As PEFT merges it, in the tensors' own type."""
    folders, adapter = pairs["e2b"], tmp_path / "adapter"
    model = make_adapter(
        folders.drafter, adapter, kind=KINDS["drafter"], target_modules=["q_proj", "down_proj"]
    )
    merged = open_checkpoint(save_merged(model, folders.drafter, tmp_path / "merged"))
    adapted = resolve(str(folders.drafter), None, download, str(adapter))
    pair = Pair.of(open_checkpoint(folders.target), adapted)
    with TensorReader() as reader:
        weights = pair_weights(pair, reader)[Section.MTP_DRAFTER]
        DrafterFolder.of(adapted, weights, reader).write({}, {}, tmp_path / "out", force=False)
        ours = open_checkpoint(tmp_path / "out")
        changed = 0
        for name, tensor in ours.tensors.items():
            if tensor.dtype != "BF16":
                continue
            count = tensor.nbytes // 2
            mine, theirs = (c.tensors[name] for c in (ours, merged))
            a = torch.from_numpy(reader.floats(mine, 0, count))
            b = torch.from_numpy(reader.floats(theirs, 0, count)).bfloat16().float()
            torch.testing.assert_close(a, b, rtol=2**-7, atol=1e-6)
            old = torch.from_numpy(reader.floats(adapted.tensors[name], 0, count))
            changed += not torch.equal(a, old)
    assert changed == 2 * 4


def test_a_work_folder_serves_one_tuning(tmp_path: Path) -> None:
    folder, key = tmp_path / "work", {"recipe": [1], "epochs": None}
    WorkFolder.open(folder, key, resume=False)
    WorkFolder.open(folder, key, resume=True)
    with pytest.raises(TuneError, match="give --resume to go on"):
        WorkFolder.open(folder, key, resume=False)
    with pytest.raises(TuneError, match=r"another tuning.*epochs: null there, 2 now"):
        WorkFolder.open(folder, {**key, "epochs": 2}, resume=True)


def test_a_work_folder_serves_one_process(tmp_path: Path) -> None:
    """Two that go on with it at the same time would mix their answers."""
    one, other = (WorkFolder.open(tmp_path, {}, resume=True) for _ in range(2))
    with (
        one.alone(),
        pytest.raises(TuneError, match="another `tune` works there now"),
        other.alone(),
    ):
        pass
    with other.alone():
        assert WorkFolder.open(tmp_path, {}, resume=True) == one


def test_a_damaged_state_is_named(read: Read, tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    training(read, state).save()
    content = state.read_bytes()
    for damage in (b"", content[:-100], b"x" * 1000):
        state.write_bytes(damage)
        with pytest.raises(TuneError, match=r"state\.pt: .* --resume trains from the beginning"):
            training(read, state)


def test_a_full_disk_is_told_with_what_to_do(read: Read, tmp_path: Path) -> None:
    """Of torch's own writer it would be an error of another kind."""
    folder = WorkFolder.open(tmp_path / "work", {}, resume=False)
    one = training(read, folder.path / "state.pt")
    (folder.path / "state.partial").symlink_to("/dev/full")
    with (
        pytest.raises(OutputError, match=r"work: the disk filled up; .* --resume goes on"),
        folder.written(),
    ):
        one.save()
    assert not one.state.exists()
