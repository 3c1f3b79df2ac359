"""What the target gives its drafter, kept on disk: hidden states, and the keys and values that drafts read.

One record an answer, in order; its size follows from the answer's lengths, so that any record is found
without an index. What is trained on is kept in bfloat16, what is reported in float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from exporter.calibrate.target_pass import ReadSequence
from exporter.checkpoints.architecture import AttentionKind, TargetConfig
from exporter.tune.answers import Answer

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Features:
    """Of one answer: R starts of drafts over S slots."""

    hidden: Tensor  # [R, H], the target's before each pending token
    keys: Mapping[AttentionKind, Tensor]  # [K, S, D], rotated
    values: Mapping[AttentionKind, Tensor]  # [K, S, D]


@dataclass(frozen=True)
class FeatureFile:
    """Records of some answers in one file."""

    path: Path
    config: TargetConfig
    answers: tuple[Answer, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Of all records."""
        return self._offsets[-1]

    @property
    def missing(self) -> int:
        """Bytes that are not there yet."""
        there = self.path.stat().st_size if self.path.exists() else 0
        return max(0, self.nbytes - there)

    def done(self) -> int:
        """How many records are there, whole; what is left of another is taken off."""
        if not self.path.exists():
            return 0
        size = self.path.stat().st_size
        whole = [end for end in self._offsets if end <= size]
        with self.path.open("r+b") as stream:
            stream.truncate(whole[-1])
        return len(whole) - 1

    def append(self, answer: Answer, reading: ReadSequence) -> None:
        """Write the record of an answer whose prompt and tokens, but for the last two, were read."""
        first = len(answer.prompt) - 1
        parts = [reading.x[0, first : first + answer.starts]]
        for kind in AttentionKind:
            kv = reading.caches[self.config.kv_donor(kind).index]
            parts += [kv.keys[0], kv.values[0].transpose(1, 2)]
        with self.path.open("ab") as stream:
            for part in parts:
                flat = part.to("cpu", self.dtype).contiguous().reshape(-1)
                stream.write(flat.view(torch.uint8).numpy().tobytes())

    def read(self, indices: Sequence[int]) -> list[Features]:
        """The records of these answers. Read, not mapped: mapped pages would count as memory in use."""
        found = []
        with self.path.open("rb") as stream:
            for index in indices:
                answer = self.answers[index]
                stream.seek(self._offsets[index])
                data = bytearray(stream.read(self._nbytes(answer)))
                found.append(self._parsed(torch.frombuffer(data, dtype=self.dtype), answer))
        return found

    def _parsed(self, flat: Tensor, answer: Answer) -> Features:
        shapes = self._shapes(answer)
        pieces = torch.split(flat, [math.prod(shape) for shape in shapes])
        hidden, *caches = (
            piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)
        )
        keys = dict(zip(AttentionKind, caches[::2], strict=True))
        values = dict(zip(AttentionKind, caches[1::2], strict=True))
        return Features(hidden, keys, values)

    @cached_property
    def _offsets(self) -> list[int]:
        return [0, *accumulate(map(self._nbytes, self.answers))]

    def _nbytes(self, answer: Answer) -> int:
        return sum(map(math.prod, self._shapes(answer))) * self.dtype.itemsize

    def _shapes(self, answer: Answer) -> list[Shape]:
        shapes: list[Shape] = [(answer.starts, self.config.text.hidden_size)]
        for kind in AttentionKind:
            donor = self.config.kv_donor(kind)
            shapes += [(donor.kv_heads, answer.slots, donor.head_dim)] * 2
        return shapes
