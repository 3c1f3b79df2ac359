"""Optimiser, schedule and fake quantisation of both trainings. Knows parameters, not data."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

INT4_MAX = 7


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over 5 %, then a cosine down to 2 % of the peak."""
    warm = max(1, steps // 20)
    if step < warm:
        return peak * (step + 1) / warm
    progress = (step - warm) / max(1, steps - warm)
    return peak * (0.02 + 0.49 * (1 + math.cos(math.pi * progress)))


def adamw(parameters: Iterable[nn.Parameter]) -> torch.optim.AdamW:
    """AdamW with a small decay on matrices only."""
    every = list(parameters)
    groups = [
        {"params": [p for p in every if p.ndim >= 2], "weight_decay": 0.02},
        {"params": [p for p in every if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98))


def take_step(optimiser: torch.optim.AdamW, rate: float) -> None:
    """Clip, step and clear, at the given learning rate."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(parameters, 1.0)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def fake_int4(weight: Tensor) -> Tensor:
    """Symmetric int4 rounding with one scale per output row."""
    scale = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-8) / INT4_MAX
    return (weight / scale).round_().clamp_(-INT4_MAX, INT4_MAX).mul_(scale)


@contextmanager
def int4_weights(model: nn.Module, *, enabled: bool = True) -> Iterator[None]:
    """Run with every matrix rounded to int4; the true values return afterwards.

    Gradients taken inside belong to the rounded values and are applied to the true ones: the
    straight-through trick.
    """
    matrices = [p for p in model.parameters() if p.ndim == 2] if enabled else []
    saved = [p.data for p in matrices]
    for p in matrices:
        p.data = fake_int4(p.data)
    try:
        yield
    finally:
        for p, data in zip(matrices, saved, strict=True):
            p.data = data
