"""The loss: in chunks as without, and of the positions that a runtime would draft from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from exporter.tune.chain import hidden_states
from exporter.tune.drafter_weights import load_drafter
from exporter.tune.loss import CLUSTER_WEIGHT, STEP_DECAY, Objective, head_loss
from tests.tune.conftest import CPU, MakeRead

ROWS, WIDTH, TOKENS = 37, 8, 50


@pytest.mark.parametrize("chunk", [1, 10, 37, 100])
def test_chunks_change_nothing(chunk: int) -> None:
    source = torch.Generator().manual_seed(1)
    head = torch.randn(TOKENS, WIDTH, generator=source)
    labels = torch.randint(0, TOKENS, (ROWS,), generator=source)
    ours, theirs = (
        torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(2)).requires_grad_()
        for _ in range(2)
    )
    loss = head_loss(ours, head, labels, chunk)
    expected = functional.cross_entropy(theirs @ head.T, labels, reduction="sum")
    torch.testing.assert_close(loss, expected)
    torch.autograd.backward([3 * loss])
    torch.autograd.backward([3 * expected])
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_loss_is_what_it_says(read_random: MakeRead, tmp_path: Path) -> None:
    """Written out answer by answer: every start, every step whose token is in the answer."""
    read = read_random(tmp_path, 3)
    assert read.pair.drafter_config is not None
    drafter = load_drafter(read.pair.drafter_config, read.writer.weights, CPU)
    objective = Objective.of(drafter, 3)
    answers = read.source.file.answers
    counts = objective.counts(answers, len(drafter.lm_head.weight))
    ((order, batch),) = read.source.batches(range(3), 3, 10_000)
    head = drafter.masked_embedding
    assert head is not None
    cluster_of = {
        int(token): cluster
        for cluster, members in enumerate(head.token_ordering)
        for token in members
    }
    expected = torch.zeros(())
    with torch.no_grad():
        loss = objective.loss(drafter, batch, counts)
        for k, states in enumerate(hidden_states(drafter, batch, 3), 1):
            terms = []
            for row, index in enumerate(order):
                tokens = answers[index].tokens
                for start in range(len(tokens) - k):
                    state, label = states[row, start], tokens[start + k]
                    scores = torch.log_softmax(drafter.lm_head(state), 0)
                    clusters = torch.log_softmax(head.centroids(state), 0)
                    terms.append(scores[label] + CLUSTER_WEIGHT * clusters[cluster_of[label]])
            assert len(terms) == counts[k - 1]
            expected -= STEP_DECAY ** (k - 1) * torch.stack(terms).mean()
    torch.testing.assert_close(loss, expected)
