"""The target, with the weights that a bundle of it stores, read over prompts and answers.

Layer by layer, some answers at a time: memory is one layer's weights and what :data:`SHARD_TOKENS` tokens
are on their way (E2B: about 40 KB a token), however many answers there are. On a GPU all layers stay in its
memory, in float32 (E2B: 8 GB, E4B: 16 GB, estimated from sizes), and weights are read once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.calibrate.choice import CodeChoices
from exporter.calibrate.target_pass import TargetPass, gather
from exporter.checkpoints.architecture import TargetConfig
from exporter.contract.names import Section
from exporter.progress import Reporter
from exporter.tune.answers import Answer
from exporter.tune.features import FeatureFile
from exporter.weights.matching import Weights
from quantize.recipe import Recipe

SHARD_TOKENS = {"cpu": 16 * 1024, "cuda": 256 * 1024}
"""Tokens that are read at once. On the CPU every shard reads all weights anew, so more are faster."""


@dataclass(frozen=True)
class TargetReader:
    """A target as a bundle stores it, on a device."""

    config: TargetConfig
    weights: Weights
    recipe: Recipe
    device: torch.device
    shard_tokens: int | None = None
    """Tokens read at once; None for what suits the device."""
    resident: bool | None = None
    """Whether all layers stay in memory; None for what suits the device."""

    def write(self, file: FeatureFile, title: str, reporter: Reporter) -> None:
        """Write the records that a file does not have yet."""
        begun, answers = file.done(), file.answers
        tokens = self.shard_tokens or SHARD_TOKENS[self.device.type]
        shards = list(shards_of(answers[begun:], tokens))
        if not shards:
            return
        target = self.weights[Section.PREFILL_DECODE]
        total = sum(weight.tensor.nbytes for weight in target.values())
        resident = self.device.type == "cuda" if self.resident is None else self.resident
        with reporter.stage(title, total * len(shards)) as advance:
            choices = CodeChoices(self.recipe, Path(), advance)
            target_pass = TargetPass(self.config, self.weights, choices, resident=resident)
            for shard in shards:
                self._read(target_pass, file, shard)

    @torch.inference_mode()
    def _read(self, target_pass: TargetPass, file: FeatureFile, shard: Sequence[Answer]) -> None:
        sequences = tuple((*a.prompt, *a.tokens)[: a.slots] for a in shard)
        with torch.device(self.device):
            readings = target_pass.run(sequences)
            for answer, reading in zip(shard, readings, strict=True):
                file.append(answer, reading)

    def embeddings(self, answers: Sequence[Answer]) -> Embeddings:
        """The embeddings of all tokens of answers, scaled, in as many bytes as there are different ones."""
        every = {token for a in answers for token in (*a.tokens, *a.tail)}
        ids = np.array(sorted(every))
        table = self.weights[Section.EMBEDDER]["weight"]
        choices = CodeChoices(self.recipe, Path(), lambda count: None)
        rows = choices.as_stored(gather(table, ids), table)
        scaled = torch.from_numpy(rows) * math.sqrt(self.config.text.hidden_size)
        return Embeddings(ids, scaled.to(self.device))


@dataclass(frozen=True)
class Embeddings:
    """Rows of the target's table for some tokens."""

    ids: NDArray[np.int64]  # [n], ascending
    rows: Tensor  # [n, H], scaled

    def of(self, tokens: NDArray[np.int64]) -> Tensor:
        """``[..., H]`` of tokens ``[...]``; some row or other for a number below all tokens."""
        places = np.searchsorted(self.ids, tokens)
        return self.rows[torch.from_numpy(places).to(self.rows.device)]


def shards_of(answers: Sequence[Answer], tokens: int) -> Iterator[list[Answer]]:
    """Answers in order, in groups of about so many tokens."""
    group, size = list[Answer](), 0
    for answer in answers:
        if group and size + answer.slots > tokens:
            yield group
            group, size = [], 0
        group.append(answer)
        size += answer.slots
    if group:
        yield group
