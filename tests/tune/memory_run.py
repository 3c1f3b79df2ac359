"""Reads and trains on some answers, then on many times as many; prints the peak memory after each, in bytes.

A process of its own, because a peak never falls. Not ``ru_maxrss``: that begins at the peak of the process
that started this one, which is larger.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import Section
from exporter.progress import SilentReporter
from exporter.tune.chain import Source
from exporter.tune.drafter_weights import load_drafter
from exporter.tune.features import FeatureFile
from exporter.tune.judge import judge
from exporter.tune.options import Plan
from exporter.tune.target_reading import TargetReader
from exporter.tune.training import Training
from exporter.tune.tuning import pair_weights
from quantize.builtin_recipes import RECIPES
from runtime_py.bench.memory import Memory
from tests.tune.random_answers import random_answers

PLAN = Plan(epochs=1, rate=1e-4, draft_length=2, seed=0, step_tokens=1000)
SHARD = 2048


def peak(target: Path, drafter: Path, folder: Path, count: int) -> int:
    """Peak memory of this process after a tuning on ``count`` answers."""
    pair, cpu = Pair.of(open_checkpoint(target), open_checkpoint(drafter)), torch.device("cpu")
    assert pair.drafter_config is not None
    with TensorReader() as reader:
        weights = pair_weights(pair, reader)
        recipe = RECIPES["float32"]
        reading = TargetReader(pair.target_config, weights, recipe, cpu, SHARD)
        answers = random_answers(count)
        path = folder / f"{count}.features"
        file = FeatureFile(path, pair.target_config, answers, torch.bfloat16)
        reading.write(file, "", SilentReporter())
        source = Source(file, reading.embeddings(answers), cpu)
        loaded = load_drafter(pair.drafter_config, weights[Section.MTP_DRAFTER], cpu)
        training = Training(
            loaded, source, PLAN, lambda d: judge(d, source, 2).everywhere, folder / f"{count}.pt"
        )
        training.steps = training.steps[:4]
        training.run(lambda count: None, lambda text: None)
    memory = Memory()
    memory.see(Path("/proc/self/status").read_text(encoding="utf-8"))
    return memory.resident


if __name__ == "__main__":
    target, drafter, folder, *counts = sys.argv[1:]
    for count in counts:
        print(peak(Path(target), Path(drafter), Path(folder), int(count)), flush=True)
