"""Batches of source text: plain stretches, and stretches cut in two by the turns of a chat.

Axes: B rows, T tokens. Knows texts and tokens; does not know models.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from pair_parts import BOS, EOS, TURN_END, TURN_START
from tiny_pair.batches import TextBatch
from tiny_pair.chat import build_tokenizer
from tokenizers import Tokenizer

from .text import sources

# A newline with the indentation after it, a word with its space, a digit, or a run of marks.
_WORD = "\\n▁*|▁?[A-Za-z_]+|[0-9]|▁+|[^A-Za-z_0-9▁\\n]{1,3}"


def new_tokenizer(size: int) -> Tokenizer:
    """A tokenizer of `size` pieces learned from the training side."""
    return build_tokenizer(sources(held_out=False), size, _WORD)


def encode_all(tokenizer: Tokenizer) -> NDArray[np.int32]:
    """The training side as one stream, files ended by <eos>.

    Pieces begin with a newline or lie inside a line, so lines can be encoded one by one.
    """
    parts: list[int] = []
    for text in sources(held_out=False):
        first, *rest = text.split("\n")
        lines = [first, *("\n" + line for line in rest)]
        for encoding in tokenizer.encode_batch(lines, add_special_tokens=False):
            parts += encoding.ids
        parts.append(EOS)
    return np.array(parts, np.int32)


def _turn(tokenizer: Tokenizer, role: str) -> list[int]:
    return [TURN_START, *_ids(tokenizer, f"{role}\n")]


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def training_batches(
    tokenizer: Tokenizer, stream: NDArray[np.int32], seed: int, *, rows: int, width: int
) -> Iterator[TextBatch]:
    """Endless random stretches of `stream`; in every second row a chat asks for the rest of it."""
    random = np.random.default_rng(seed)
    ask = _turn(tokenizer, "user")
    answer = [TURN_END, *_ids(tokenizer, "\n"), *_turn(tokenizer, "model")]
    position = torch.arange(width).expand(rows, width)
    while True:
        ids = np.full((rows, width), BOS, np.int64)
        is_text = np.ones((rows, width), bool)
        is_text[:, 0] = False
        for row in range(rows):
            start = int(random.integers(len(stream) - width))
            text = stream[start : start + width - 1]
            if row % 2:
                cut = int(random.integers(8, width // 2))
                text = np.concatenate([ask, text[:cut], answer, text[cut:]])[: width - 1]
                is_text[row, 1 : 1 + len(ask)] = False
                is_text[row, 1 + len(ask) + cut : 1 + len(ask) + cut + len(answer)] = False
            ids[row, 1:] = text
        whole = torch.ones(rows, width, dtype=torch.int64)
        yield TextBatch(torch.from_numpy(ids), torch.from_numpy(is_text), whole, position)
