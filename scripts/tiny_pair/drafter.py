"""Training of the drafter: all positions at once, unrolled, against the frozen target.

Axes: B rows, T tokens, N usable positions, H target width, h drafter width. At position t the
target has processed x_0..x_t; draft step k (from 1) gets the embedding of x_{t+k} and must say the
target's argmax at position t+k. KV and position stay those of the start of the draft. Does not
know how the target was trained.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from pair_parts import DRAFT_LENGTH
from torch import Tensor
from torch.nn import functional
from transformers import Gemma4AssistantForCausalLM, Gemma4ForConditionalGeneration

from .architecture import WINDOW
from .batches import TextBatch
from .centroids import balanced_clusters, centroid_head
from .optimise import adamw, learning_rate, take_step
from .target import look

_PEAK_RATE = 4e-3
_CLUSTER_AT = (
    0.6  # share of the steps after which the head is clustered and its centroids are trained
)
_STEP_WEIGHTS = (1.0, 0.9, 0.8)


@dataclass(frozen=True)
class UnrolledStep:
    """States of one draft step and what the target says there, on answer positions only."""

    hidden: Tensor  # [N, h]
    labels: Tensor  # [N]


def _shift(values: Tensor, by: int) -> Tensor:
    """values[:, t + by] at t; the last entries repeat (callers mask them out)."""
    return torch.cat([values[:, by:], values[:, -1:].expand(-1, by, *values.shape[2:])], dim=1)


def unroll(
    target: Gemma4ForConditionalGeneration, drafter: Gemma4AssistantForCausalLM, batch: TextBatch
) -> list[UnrolledStep]:
    """Teacher-forced draft steps from every position of the batch."""
    with torch.no_grad():
        view = look(target, batch)
        embeddings = target.model.language_model.embed_tokens(batch.ids)
        choice = view.logits.argmax(dim=-1)
    masks = batch.masks(WINDOW + 1)  # it stands one position on, so kv in [t - window, t]
    hidden, steps = view.hidden, []
    usable = torch.ones_like(batch.is_answer)
    for k in range(1, DRAFT_LENGTH + 1):
        inputs = drafter.pre_projection(torch.cat([_shift(embeddings, k), hidden], dim=-1))
        states = drafter.model(
            inputs_embeds=inputs,
            attention_mask=masks,
            position_ids=batch.position + 1,
            shared_kv_states=dict(view.shared_kv),
            use_cache=False,
        ).last_hidden_state
        hidden = drafter.post_projection(states)
        # x_{t+1}..x_{t+k} must be the target's own words, inside this document's answer
        usable = usable & _shift(batch.is_answer, k) & (_shift(batch.document, k) == batch.document)
        usable[:, -k:] = False
        if k > 1:
            usable = usable & (_shift(choice, k - 1) == _shift(batch.ids, k))
        steps.append(UnrolledStep(states[usable], _shift(choice, k)[usable]))
    return steps


def _full_head_loss(drafter: Gemma4AssistantForCausalLM, steps: list[UnrolledStep]) -> Tensor:
    losses = [functional.cross_entropy(drafter.lm_head(s.hidden), s.labels) for s in steps]
    return torch.stack([w * x for w, x in zip(_STEP_WEIGHTS, losses, strict=True)]).sum()


def _centroid_loss(drafter: Gemma4AssistantForCausalLM, steps: list[UnrolledStep]) -> Tensor:
    """Cross-entropy of the right token's cluster."""
    head = centroid_head(drafter)
    cluster = torch.empty(head.token_ordering.numel(), dtype=torch.long)
    cluster[head.token_ordering] = torch.arange(len(cluster)) // head.vocab_size_per_centroid
    losses = [functional.cross_entropy(head.centroids(s.hidden), cluster[s.labels]) for s in steps]
    return torch.stack(losses).sum()


@torch.no_grad()
def _cluster_head(drafter: Gemma4AssistantForCausalLM, seed: int) -> None:
    """Order the tokens by cluster and start each centroid at its members' mean row."""
    head, rows = centroid_head(drafter), drafter.lm_head.weight
    members = balanced_clusters(rows, head.num_centroids, seed)  # [clusters, tokens per cluster]
    head.token_ordering.copy_(members.flatten())
    head.centroids.weight.copy_(rows[members].mean(dim=1))


def train_drafter(
    target: Gemma4ForConditionalGeneration,
    drafter: Gemma4AssistantForCausalLM,
    batches: Iterator[TextBatch],
    *,
    steps: int,
    seed: int,
    report: Callable[[str], None],
) -> None:
    """Train in place: first with the full head, then with the centroid loss beside it."""
    optimiser = adamw(drafter.parameters())
    started, cluster_at = time.monotonic(), int(_CLUSTER_AT * steps)
    drafter.train()
    for step in range(steps):
        if step == cluster_at:
            _cluster_head(drafter, seed)
            optimiser.state.pop(centroid_head(drafter).centroids.weight, None)
        unrolled = unroll(target, drafter, next(batches))
        loss = _full_head_loss(drafter, unrolled)
        if step >= cluster_at:
            loss = loss + _centroid_loss(drafter, unrolled)
        torch.autograd.backward([loss])
        take_step(optimiser, learning_rate(step, steps, _PEAK_RATE))
        if step % 25 == 0 or step == steps - 1:
            report(
                f"drafter {step}/{steps} loss {loss.item():.4f} {time.monotonic() - started:.0f}s"
            )
    drafter.train(False)
