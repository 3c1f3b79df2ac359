"""Several sequences in one call of our torch modules: each gives what it gives alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from exporter.checkpoints.architecture import AttentionKind, HeadKind
from exporter.model.text.batch import BatchKv
from exporter.model.text.kv import Kv
from exporter.model.text.target import Caches
from tests.eager import CACHE_LENGTH, Eager
from tests.pairs import VOCABULARY

TOLERANCE = 1e-5
"""Of the largest magnitude: a product of more rows may sum in another order."""

STARTS = (3, 70, 150)
"""Committed tokens of each sequence: before, at and after the window (64) is full."""

TOKENS = 4


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    """No gradients; one thread, because the models are too small to share out."""
    torch.set_num_threads(1)
    with torch.no_grad():
        yield


@pytest.fixture
def text() -> Tensor:
    """One text per sequence, ``[B, T]``."""
    source = torch.Generator().manual_seed(8)
    return torch.randint(VOCABULARY, (len(STARTS), max(STARTS) + TOKENS), generator=source)


def committed(eager: Eager, text: Tensor) -> list[Caches]:
    empty = eager.empty_caches()
    pairs = zip(text, STARTS, strict=True)
    return [eager.prefill(tokens[:start], 0, empty) for tokens, start in pairs]


def of_batch(caches: list[Caches]) -> dict[int, BatchKv]:
    return {layer: BatchKv(tuple(one[layer] for one in caches)) for layer in caches[0]}


def assert_close(ours: Tensor, alone: Tensor) -> None:
    assert ours.shape == alone.shape
    assert (ours - alone).abs().max() <= TOLERANCE * alone.abs().max()


@pytest.mark.parametrize("tokens", [1, TOKENS])
def test_target(tokens: int, eager: Eager, text: Tensor) -> None:
    caches = committed(eager, text)
    pairs = list(zip(text, STARTS, strict=True))
    inputs = [eager.inputs(row[start : start + tokens], start) for row, start in pairs]
    embeddings, per_layer, _, mask = (torch.cat(part) for part in zip(*inputs, strict=True))
    positions = torch.stack([one[2] for one in inputs])
    step = eager.target.forward_batch(embeddings, per_layer, positions, mask, of_batch(caches))
    for row, (one, before) in enumerate(zip(inputs, caches, strict=True)):
        alone = eager.target(*one, before)
        assert_close(step.logits[row : row + 1], alone.logits)
        assert_close(step.hidden[row : row + 1], alone.hidden)
        for layer, kv in alone.caches.items():
            assert_close(step.caches[layer].sequences[row].keys, kv.keys)
            assert_close(step.caches[layer].sequences[row].values, kv.values)


@pytest.mark.parametrize("head", HeadKind)
def test_drafter(head: HeadKind, eager: Eager, text: Tensor) -> None:
    caches = committed(eager, text)
    source = torch.Generator().manual_seed(9)
    states = torch.randn(len(STARTS), eager.target.config.text.hidden_size, generator=source)
    last = torch.stack([row[start] for row, start in zip(text, STARTS, strict=True)])
    embedded = torch.cat([eager.embedder(token.reshape(1, 1)) for token in last])
    activations = torch.cat([embedded, states[:, None]], -1)
    positions = torch.tensor([[start - 1] for start in STARTS], dtype=torch.int32)
    mask = (torch.arange(CACHE_LENGTH) <= positions).reshape(len(STARTS), 1, 1, -1)
    draft = eager.drafters[head].forward_batch(activations, positions, mask, donors(eager, caches))
    for row, (start, before) in enumerate(zip(STARTS, caches, strict=True)):
        alone = eager.draft(head, last[row], states[row], start, before)
        assert_close(draft.logits[row : row + 1], alone.logits)
        assert_close(draft.projected[row : row + 1], alone.projected)


def donors(eager: Eager, caches: list[Caches]) -> dict[AttentionKind, BatchKv]:
    found: list[dict[AttentionKind, Kv]] = [eager.donors(one) for one in caches]
    return {kind: BatchKv(tuple(one[kind] for one in found)) for kind in AttentionKind}
