"""Answers of tokens that nobody said."""

from __future__ import annotations

import torch

from exporter.tune.answers import Answer
from tests import pairs as random_pairs


def random_answers(count: int, seed: int = 0) -> tuple[Answer, ...]:
    """Prompts and answers of several lengths, some beyond the window."""
    source = torch.Generator().manual_seed(seed)

    def tokens(least: int, most: int) -> tuple[int, ...]:
        length = int(torch.randint(least, most, (), generator=source))
        drawn = torch.randint(1, random_pairs.VOCABULARY, (length,), generator=source)
        return tuple(drawn.tolist())

    return tuple(Answer(tokens(4, 70), tokens(6, 24), tokens(4, 5)) for _ in range(count))
