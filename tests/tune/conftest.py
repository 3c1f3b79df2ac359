"""One tuning that several modules look at, and features of a random pair."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_pair.corpus import documents

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import Section
from exporter.progress import SilentReporter
from exporter.tune.chain import Source
from exporter.tune.drafter_folder import DrafterFolder
from exporter.tune.features import FeatureFile
from exporter.tune.options import TuningOptions
from exporter.tune.outcome import TuningOutcome
from exporter.tune.target_reading import TargetReader
from exporter.tune.tuning import pair_weights, tune
from quantize.builtin_recipes import RECIPES
from tests import pairs as random_pairs
from tests.bundles import TINY_DRAFTER
from tests.once import lowering, made_once, shared_folder
from tests.tune.disguised import disguised_target, undoing_drafter
from tests.tune.random_answers import random_answers

CPU = torch.device("cpu")
PROMPTS, EPOCHS = 160, 6


@dataclass(frozen=True)
class Tuned:
    """The disguised target, its drafters, and what a tuning with defaults, but for its length, found."""

    folder: Path
    outcome: dict[str, Any]

    def acceptance(self, when: str) -> float:
        """Reported, ``before`` or ``after``, of held-out prompts."""
        return float(self.outcome["held_out"][when]["acceptance"])

    @property
    def prompts(self) -> list[str]:
        return (self.folder / "prompts.txt").read_text().splitlines()

    @property
    def target(self) -> Path:
        return self.folder / "target"

    @property
    def closed_form(self) -> Path:
        return self.folder / "closed_form"

    @property
    def drafter(self) -> Path:
        return self.folder / "drafter"

    @property
    def work(self) -> Path:
        return self.folder / "work"


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """Made once for all tests."""
    folder = made_once(shared_folder(tmp_path_factory) / "tuned", _tune_disguised)
    return Tuned(folder, json.loads((folder / "outcome.json").read_text()))


def _tune_disguised(folder: Path) -> None:
    folder.mkdir()
    disguised_target(folder / "target")
    undoing_drafter(folder / "closed_form")
    (folder / "prompts.txt").write_text("\n".join(training_prompts(PROMPTS)) + "\n")
    options = TuningOptions(
        prompts=folder / "prompts.txt",
        conversations=None,
        keep=None,
        recipe=RECIPES["float32"],
        epochs=EPOCHS,
    )
    with lowering():
        found = run_tuning(
            folder / "target", TINY_DRAFTER, folder / "drafter", folder / "work", options
        )
    (folder / "outcome.json").write_text(json.dumps(found.to_json()))


def run_tuning(
    target: Path, drafter: Path, output: Path, work: Path, options: TuningOptions
) -> TuningOutcome:
    """Without a word."""
    checkpoints = open_checkpoint(target), open_checkpoint(drafter)
    return tune(*checkpoints, output, work, options, SilentReporter())


def training_prompts(count: int) -> list[str]:
    """Different prompts of the tiny pair's training side."""
    found = dict[str, None]()
    for document in documents(5, held_out=False):
        if len(found) == count:
            break
        if not document.plain and document.system is None:
            found[document.exchanges[0].prompt] = None
    return list(found)


@dataclass(frozen=True)
class Read:
    """Answers of random tokens, read by a random pair's target."""

    pair: Pair
    source: Source
    writer: DrafterFolder


MakeRead = Callable[[Path, int], Read]


@pytest.fixture(scope="session")
def read_random(pairs: dict[str, random_pairs.Pair]) -> MakeRead:
    """Reads random answers with the E2B-shaped pair, exactly as a tuning does."""

    def read(folder: Path, count: int) -> Read:
        found = pairs["e2b"]
        pair = Pair.of(open_checkpoint(found.target), open_checkpoint(found.drafter))
        reader = TensorReader()
        weights = pair_weights(pair, reader)
        target = TargetReader(pair.target_config, weights, RECIPES["float32"], CPU)
        answers = random_answers(count)
        file = FeatureFile(folder / "random.features", pair.target_config, answers, torch.float32)
        target.write(file, "", SilentReporter())
        assert pair.drafter is not None
        writer = DrafterFolder.of(pair.drafter, weights[Section.MTP_DRAFTER], reader)
        return Read(pair, Source(file, target.embeddings(answers), CPU), writer)

    return read
