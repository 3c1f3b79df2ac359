"""Packed batches: several documents a row, and the masks that keep them apart.

Axes: B rows, T tokens. Knows encoded documents; does not know models.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from pair_parts import FULL, PAD, SLIDING
from tokenizers import Tokenizer
from torch import Tensor

from .chat import Encoded, encode
from .corpus import Document, documents

_POOL = 400  # documents gathered before they are packed


@dataclass(frozen=True)
class TextBatch:
    """Rows of packed documents."""

    ids: Tensor  # [B, T] int64
    is_answer: Tensor  # [B, T] bool
    document: Tensor  # [B, T] int64, 0 is padding
    position: Tensor  # [B, T] int64, starting at 0 in every document

    def masks(self, reach: int) -> dict[str, Tensor]:
        """Attention masks [B, 1, T, T], true = attend; sliding queries see `reach` entries."""
        same = self.document[:, None, :, None] == self.document[:, None, None, :]
        index = torch.arange(self.ids.shape[1])
        distance = index[:, None] - index[None, :]
        causal = same & (distance >= 0)
        return {FULL: causal, SLIDING: causal & (distance < reach)}


def _rows(pool: list[Encoded], width: int) -> list[list[Encoded]]:
    """First-fit packing, longest first."""
    rows: list[list[Encoded]] = []
    room: list[int] = []
    for item in sorted(pool, key=lambda e: -len(e.ids)):
        size = len(item.ids)
        slot = next((i for i, free in enumerate(room) if free >= size), None)
        if slot is None:
            rows.append([item])
            room.append(width - size)
        else:
            rows[slot].append(item)
            room[slot] -= size
    return rows


def pack(rows: list[list[Encoded]], width: int) -> TextBatch:
    """Tensors of the given rows, padded to `width`."""
    ids = torch.full((len(rows), width), PAD)
    is_answer = torch.zeros((len(rows), width), dtype=torch.bool)
    document, position = torch.zeros_like(ids), torch.zeros_like(ids)
    for b, row in enumerate(rows):
        start = 0
        for number, item in enumerate(row, 1):
            end = start + len(item.ids)
            ids[b, start:end] = torch.tensor(item.ids)
            is_answer[b, start:end] = torch.tensor(item.is_answer)
            document[b, start:end] = number
            position[b, start:end] = torch.arange(end - start)
            start = end
    return TextBatch(ids, is_answer, document, position)


def training_batches(
    tokenizer: Tokenizer, seed: int, *, rows: int, width: int
) -> Iterator[TextBatch]:
    """Endless shuffled batches of training documents."""
    stream = (encode(tokenizer, d) for d in documents(seed, held_out=False))
    return shuffled_batches(stream, seed, rows=rows, width=width)


def shuffled_batches(
    stream: Iterator[Encoded], seed: int, *, rows: int, width: int
) -> Iterator[TextBatch]:
    """Endless batches of an endless stream."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        pool = [*islice(stream, _POOL)]
        packed = _rows(pool, width)
        order = torch.randperm(len(packed), generator=generator).tolist()
        for i in range(0, len(order) - rows + 1, rows):
            yield pack([packed[j] for j in order[i : i + rows]], width)


def evaluation_batch(tokenizer: Tokenizer, chosen: list[Document]) -> TextBatch:
    """One document a row."""
    encoded = [encode(tokenizer, d) for d in chosen]
    return pack([[e] for e in encoded], max(len(e.ids) for e in encoded))
