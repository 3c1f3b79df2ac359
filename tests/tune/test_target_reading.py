"""What a target says is the same, read at once or in parts, with layers that stay in memory or not."""

from __future__ import annotations

from pathlib import Path

import torch

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.progress import SilentReporter
from exporter.tune.features import FeatureFile
from exporter.tune.target_reading import TargetReader
from exporter.tune.tuning import pair_weights
from quantize.builtin_recipes import RECIPES
from tests import pairs as random_pairs
from tests.tune.random_answers import random_answers

CPU = torch.device("cpu")


class CountingReader(TensorReader):
    """Counts the bytes that are read of every tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes_of = dict[str, int]()

    def read(self, tensor: StoredTensor, start: int, count: int) -> bytearray:
        data = super().read(tensor, start, count)
        self.bytes_of[tensor.name] = self.bytes_of.get(tensor.name, 0) + len(data)
        return data


def test_layers_that_stay(pairs: dict[str, random_pairs.Pair], tmp_path: Path) -> None:
    found = pairs["e2b"]
    pair = Pair.of(open_checkpoint(found.target), open_checkpoint(found.drafter))
    answers, records, layers = random_answers(12), list[bytes](), list[int]()
    for name, shard, resident in (
        ("once", 10_000, False),
        ("anew", 150, False),
        ("stay", 150, True),
    ):
        reader, path = CountingReader(), tmp_path / name
        weights = pair_weights(pair, reader)
        target = TargetReader(
            pair.target_config, weights, RECIPES["int8"], CPU, shard, resident=resident
        )
        file = FeatureFile(path, pair.target_config, answers, torch.float32)
        target.write(file, "", SilentReporter())
        records.append(path.read_bytes())
        layers.append(sum(n for tensor, n in reader.bytes_of.items() if ".layers." in tensor))
    assert records[0] == records[1] == records[2]
    assert layers[2] == layers[0]
    assert layers[1] > 2 * layers[0]
