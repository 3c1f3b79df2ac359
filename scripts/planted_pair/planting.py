"""What makes the output of a planted pair known: embeddings, final norm, drafter head.

The target. All branches add zero, so the final norm sees the token's own embedding. With norm
weights w = +-1 and embeddings in pairs, E[b] = w * E[a] elementwise (so E[a] = w * E[b] too), the
head's scores E @ (w * E[a] / rms) are largest at b, and greedy text is a, b, a, b, ... The partner of
token t is t ^ 1. Both rows of a pair are rounded alike, so all of this survives int8 and int4.

The drafter. It sees P E[t], a random projection, and its head's row for token v is the direction of
P E[t] where v is what it should draft after t: t's partner if it is to be right, another wrong
token's partner if it is to be wrong. Tokens are clustered by where they are drafted from: 2 *
cluster consecutive tokens share a direction C (even ones) and w * C (odd ones), in a part of their
embeddings; that direction, projected, is the centroid of the tokens drafted from them.

Everything is made in blocks of consecutive tokens that do not depend on each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from quantize.bfloat16 import Floats

from .numbers import SIGN_BIT, Bits, to_bits, to_floats, uniform
from .sizes import Size
from .text import FIRST_PIECE

WINNING_LOGIT = 24.0
"""Of the target, before its softcap of 30, where tanh is far from flat."""

COMMON_PART = 0.5
"""Cosine between an embedding and its cluster's direction; two of a cluster have its square."""

BLOCK_TOKENS = 2048

Tokens = NDArray[np.int64]


def partner(tokens: Tokens) -> Tokens:
    """What the target says after each token."""
    return tokens ^ 1


@dataclass(frozen=True)
class Planting:
    """The planted parts of one pair; equal arguments give equal numbers."""

    size: Size
    seed: int
    acceptance: float

    def __post_init__(self) -> None:
        if self.size.vocab % self.block or self.block % (2 * self.size.cluster):
            raise ValueError(f"blocks of {self.block} do not fit clusters of {self.size.cluster}")

    @property
    def block(self) -> int:
        """Tokens of one block."""
        return min(BLOCK_TOKENS, self.size.vocab)

    def _generator(self, what: int, block: int = 0) -> np.random.Generator:
        return np.random.default_rng([self.seed, what, block])

    @cached_property
    def signs(self) -> Floats:
        """The target's final norm w [H]: as many -1 as +1, shuffled."""
        signs = np.where(np.arange(self.size.target.hidden) % 2, 1, -1).astype(np.float32)
        return self._generator(0).permutation(signs)

    @cached_property
    def projection(self) -> Floats:
        """P [H of the drafter, H], in numbers that bfloat16 holds."""
        hidden = self.size.target.hidden
        values = uniform(self._generator(1), self.size.drafter.hidden, hidden) * hidden**-0.5
        return to_floats(to_bits(values))

    def _directions(self, block: int) -> Floats:
        """C [clusters of even tokens in the block, H]."""
        count = self.block // (2 * self.size.cluster)
        return uniform(self._generator(2, block), count, self.size.target.hidden)

    def _even_rows(self, block: int) -> Bits:
        """E of the block's even tokens [block / 2, H]."""
        hidden = self.size.target.hidden
        rows = uniform(self._generator(3, block), self.block // 2, hidden)
        rows *= (1 - COMMON_PART**2) ** 0.5
        rows += COMMON_PART * np.repeat(self._directions(block), self.size.cluster, axis=0)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return to_bits(rows * (WINNING_LOGIT * hidden**-0.5 / norms))

    def _block_count(self) -> int:
        return self.size.vocab // self.block

    def embeddings(self) -> Iterator[Bits]:
        """The target's embedding table, block by block."""
        flips = (self.signs < 0).astype(np.uint16) << SIGN_BIT
        for block in range(self._block_count()):
            even = self._even_rows(block)
            yield np.stack([even, even ^ flips], axis=1)

    def pre_projection(self) -> Bits:
        """[H of the drafter, 2H]: P for the embedding, zeros for the hidden state."""
        return to_bits(np.concatenate([self.projection, np.zeros_like(self.projection)], axis=1))

    def head(self) -> Iterator[Bits]:
        """The drafter's head, block by block: row v is the direction it is drafted from."""
        for block in range(self._block_count()):
            even = to_floats(self._even_rows(block))
            sources = np.stack([self._project(even), self._project(even * self.signs)], axis=1)
            rows = np.empty_like(sources).reshape(self.block, -1)
            rows[self.drafts(block) - block * self.block] = sources.reshape(rows.shape)
            yield to_bits(rows)

    def _project(self, rows: Floats) -> Floats:
        """Directions of P x for each row x."""
        projected = rows @ self.projection.T
        return np.asarray(projected / np.linalg.norm(projected, axis=1, keepdims=True))

    def wrong(self, block: int) -> Tokens:
        """Tokens of a block after which the drafter errs, in random order; never just one."""
        first, last = (round((1 - self.acceptance) * self.block * i) for i in (block, block + 1))
        count = last - first
        chosen = self._generator(4, block).permutation(self.block)[: count if count > 1 else 0]
        return np.asarray(chosen + block * self.block)

    def drafts(self, block: int) -> Tokens:
        """What the drafter says after each token of a block: a permutation of the block."""
        drafted = partner(np.arange(self.block) + block * self.block)
        wrong = self.wrong(block)
        drafted[wrong - block * self.block] = partner(np.roll(wrong, 1))
        return drafted

    @cached_property
    def _cluster_order(self) -> Tokens:
        """Which cluster (in token order) each centroid stands for."""
        return self._generator(5).permutation(self.size.centroids)

    def centroids(self) -> Bits:
        """Centroids [count, H of the drafter]."""
        rows = []
        for block in range(self._block_count()):
            even = self._directions(block)
            rows += [np.stack([self._project(even), self._project(even * self.signs)], axis=1)]
        in_order = np.concatenate(rows).reshape(self.size.centroids, -1)
        return to_bits(in_order[self._cluster_order])

    def token_ordering(self) -> Tokens:
        """The tokens of each centroid, [V]."""
        all_drafts = np.concatenate([self.drafts(block) for block in range(self._block_count())])
        # [pairs of clusters, tokens of one, even or odd] -> [clusters, tokens]
        grouped = all_drafts.reshape(-1, self.size.cluster, 2).transpose(0, 2, 1)
        clusters = grouped.reshape(self.size.centroids, -1)[self._cluster_order]
        return self._generator(6).permuted(clusters, axis=1).reshape(-1)

    def all_wrong(self) -> NDArray[np.bool_]:
        """For each token, whether the drafter errs after it."""
        errs = np.zeros(self.size.vocab, np.bool_)
        for block in range(self._block_count()):
            errs[self.wrong(block)] = True
        return errs

    def prompts(self, count: int) -> dict[str, list[str]]:
        """Prompts by how many of the two tokens of their replies are drafted right."""
        right = 2 - self.all_wrong().reshape(-1, 2).sum(axis=1)
        right[: FIRST_PIECE // 2] = -1
        pairs = {n: np.flatnonzero(right == n) for n in (2, 1, 0)}
        return {
            str(n): [f"say t{2 * pair}" for pair in of[:: max(1, len(of) // count)][:count]]
            for n, of in pairs.items()
        }
