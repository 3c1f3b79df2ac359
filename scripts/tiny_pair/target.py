"""Training of the target: next-token loss on answers, at the end also with int4 weights.

Axes: B rows, T tokens, V vocabulary. Does not know the drafter.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Gemma4ForConditionalGeneration

from .architecture import WINDOW
from .batches import TextBatch
from .optimise import adamw, int4_weights, learning_rate, take_step

_PEAK_RATE = 3e-3
_PROMPT_WEIGHT = 0.05  # prompts are random text: enough to learn their words, no more
INT4_FROM = 0.6  # share of the steps after which every second one sees int4 weights
_SOFTCAP = 30.0


@dataclass(frozen=True)
class TargetView:
    """What a frozen target says about a batch."""

    hidden: Tensor  # [B, T, H] after the final norm
    logits: Tensor  # [B, T, V] softcapped
    shared_kv: dict[str, tuple[Tensor, Tensor]]  # layer type -> donor K, V, each [B, 1, T, D]


def look(model: Gemma4ForConditionalGeneration, batch: TextBatch) -> TargetView:
    """One forward pass of the whole batch."""
    out = model.model.language_model(
        input_ids=batch.ids,
        attention_mask=batch.masks(WINDOW),
        position_ids=batch.position,
        use_cache=False,
        return_shared_kv_states=True,
    )
    logits = torch.tanh(model.lm_head(out.last_hidden_state) / _SOFTCAP) * _SOFTCAP
    return TargetView(out.last_hidden_state, logits, dict(out.shared_kv_states))


def _loss(model: Gemma4ForConditionalGeneration, batch: TextBatch) -> Tensor:
    logits = look(model, batch).logits[:, :-1]
    labels = batch.ids[:, 1:]
    inside = batch.document[:, 1:] == batch.document[:, :-1]
    inside &= batch.document[:, 1:] > 0
    weight = torch.where(batch.is_answer[:, 1:], 1.0, _PROMPT_WEIGHT) * inside
    each = functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    return (each * weight).sum() / weight.sum()


def train_target(
    model: Gemma4ForConditionalGeneration,
    batches: Iterator[TextBatch],
    *,
    first_step: int,
    steps: int,
    int4_from: float,
    report: Callable[[str], None],
    checkpoint: Callable[[int], None],
) -> None:
    """Train in place from `first_step` up to `steps`; `checkpoint` is called every 200 steps.

    A resumed training starts its optimiser anew. From the share `int4_from` of the steps on, every
    second one sees int4 weights; 1 is never.
    """
    optimiser = adamw([*model.model.language_model.parameters()])
    started = time.monotonic()
    model.train()
    for step in range(first_step, steps):
        with int4_weights(
            model.model.language_model, enabled=step > int4_from * steps and step % 2 == 0
        ):
            loss = _loss(model, next(batches))
            torch.autograd.backward([loss])
        take_step(optimiser, learning_rate(step, steps, _PEAK_RATE))
        if step % 25 == 0 or step == steps - 1:
            report(
                f"target {step}/{steps} loss {loss.item():.4f} {time.monotonic() - started:.0f}s"
            )
        if step and step % 200 == 0:
            checkpoint(step)
    model.train(False)
