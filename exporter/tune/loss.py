"""What the drafter is trained on: the target's next token among all tokens, and that token's cluster.

A centroid head passes no gradient to its centroids, because it only picks the best of them, and a token
outside the clusters that are picked has no score at all. So the token is trained with the scores of the
whole vocabulary, and the centroids with a cross-entropy of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from exporter.model.text.drafter import Drafter
from exporter.tune.answers import Answer
from exporter.tune.chain import Batch, hidden_states

STEP_DECAY = 0.8
"""Weight of a draft step, relative to the one before: it counts only if that one was right."""

CLUSTER_WEIGHT = 0.5

CHUNK_ELEMENTS = 32 * 1024 * 1024
"""Of logits at a time: 128 MB, whatever the vocabulary."""


class _HeadLoss(torch.autograd.Function):
    """Cross-entropy over a frozen head, summed; the logits of some rows at a time, and never kept.

    Only the hidden states get a gradient. It is a second product with the head, and made at once, while the
    logits are there.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, rows: Tensor, labels: Tensor, chunk: int) -> Tensor:
        total, gradient = hidden.new_zeros(()), torch.empty_like(hidden)
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            scores = hidden[part] @ rows.T
            chosen = labels[part].unsqueeze(1)
            normaliser = scores.logsumexp(1, keepdim=True)
            total += (normaliser - scores.gather(1, chosen)).sum()
            chances = scores.sub_(normaliser).exp_()
            chances.scatter_add_(1, chosen, chances.new_full((1, 1), -1.0).expand_as(chosen))
            torch.matmul(chances, rows, out=gradient[part])
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0], None, None, None


def head_loss(hidden: Tensor, rows: Tensor, labels: Tensor, chunk: int | None = None) -> Tensor:
    """Summed cross-entropy of ``labels`` ``[n]`` given ``hidden`` ``[n, h]`` and a head ``[V, h]``.

    Args:
        hidden: Gets a gradient.
        rows: Gets none.
        labels: Tokens.
        chunk: Rows of logits at a time; None for as many as :data:`CHUNK_ELEMENTS` allow.
    """
    most = max(1, chunk or CHUNK_ELEMENTS // len(rows))
    loss: Tensor = _HeadLoss.apply(hidden, rows.detach(), labels, most)  # type: ignore[no-untyped-call]
    return loss


@dataclass(frozen=True)
class Objective:
    """The loss of a drafter. ``clusters`` ``[V]`` is None where it has no centroid head."""

    steps: int
    clusters: Tensor | None

    @staticmethod
    def of(drafter: Drafter, steps: int) -> Objective:
        """For drafts of ``steps`` steps."""
        head = drafter.masked_embedding
        if head is None:
            return Objective(steps, None)
        members = head.token_ordering.long()
        clusters = torch.empty(members.numel(), dtype=torch.long, device=members.device)
        numbers = torch.arange(len(members), device=members.device).unsqueeze(1)
        clusters[members.flatten()] = numbers.expand_as(members).flatten()
        return Objective(steps, clusters)

    def counts(self, answers: Sequence[Answer], known: int) -> list[int]:
        """How many positions each step learns from, of a drafter that knows ``known`` tokens."""
        return [
            sum(token < known for answer in answers for token in answer.tokens[step:])
            for step in range(1, self.steps + 1)
        ]

    def loss(self, drafter: Drafter, batch: Batch, counts: list[int]) -> Tensor:
        """A batch's part of the loss of an optimiser's step, which learns from ``counts`` positions.

        They are inside answers, and tokens that the drafter knows; all before them are the target's own.
        """
        rows, total = drafter.lm_head.weight, batch.hidden.new_zeros(())
        for k, states in enumerate(hidden_states(drafter, batch, self.steps), 1):
            judged = batch.inside(k) & (batch.labels(k) < len(rows))
            hidden, labels = states[judged], batch.labels(k)[judged]
            part = head_loss(hidden, rows, labels)
            if self.clusters is not None:
                assert drafter.masked_embedding is not None
                scores = drafter.masked_embedding.centroids(hidden)
                cluster_loss = functional.cross_entropy(
                    scores, self.clusters[labels], reduction="sum"
                )
                part = part + CLUSTER_WEIGHT * cluster_loss
            total = total + STEP_DECAY ** (k - 1) * part / max(1, counts[k - 1])
        return total
