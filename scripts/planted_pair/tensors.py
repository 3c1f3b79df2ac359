"""Which numbers go into which tensor: planted, constant, or random filling."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from .files import MadeTensor
from .numbers import Bits, Pool, to_bits
from .planting import Planting
from .sizes import TARGET_PREFIX, Shapes
from .towers import PlantedTowers

SILENCED = (
    "post_attention_layernorm.weight",
    "post_feedforward_layernorm.weight",
    "post_per_layer_input_norm.weight",
)
"""Norms at the ends of branches: with weight 0 a branch costs its time and adds nothing."""

CLIP_BOUNDS = {"_min": -32.0, "_max": 32.0}
"""Bounds of linear layers in a vision tower, by the ends of their names."""

Blocks = Callable[[], Iterator[Bits]]


def target_tensors(planting: Planting, towers: PlantedTowers) -> list[MadeTensor]:
    """All tensors of the target and of its towers."""
    planted: dict[str, Blocks] = {
        f"{TARGET_PREFIX}embed_tokens.weight": planting.embeddings,
        f"{TARGET_PREFIX}norm.weight": lambda: iter([to_bits(planting.signs)]),
    }
    shapes = planting.size.target_shapes() | towers.shapes(planting.size.target.hidden)
    return _tensors(shapes, planted, planting.seed)


def drafter_tensors(planting: Planting) -> list[MadeTensor]:
    """All tensors of the drafter."""
    ordering = "masked_embedding.token_ordering"
    planted: dict[str, Blocks] = {
        "pre_projection.weight": lambda: iter([planting.pre_projection()]),
        "model.embed_tokens.weight": planting.head,
        "masked_embedding.centroids.weight": lambda: iter([planting.centroids()]),
    }
    shapes = planting.size.drafter_shapes()
    table = MadeTensor(
        ordering, shapes.pop(ordering), lambda: iter([planting.token_ordering()]), "I64"
    )
    return [table, *_tensors(shapes, planted, planting.seed + 1)]


def _tensors(shapes: Shapes, planted: dict[str, Blocks], seed: int) -> list[MadeTensor]:
    if unknown := planted.keys() - shapes.keys():
        raise ValueError(f"planted tensors that do not exist: {unknown}")
    pool = Pool(seed)
    return [
        MadeTensor(name, shape, planted.get(name) or _filling(name, shape, pool))
        for name, shape in shapes.items()
    ]


def _filling(name: str, shape: tuple[int, ...], pool: Pool) -> Blocks:
    if len(shape) > 1:
        return lambda: pool.matrix(math.prod(shape[:-1]), shape[-1])
    value = CLIP_BOUNDS.get(name[-4:], 1.0)
    if name.endswith(SILENCED):
        value = 0.0
    elif name.endswith(("q_norm.weight", "k_norm.weight")):
        value = shape[0] ** -0.25  # attention scale is 1, so these keep scores near 1
    return lambda: iter([to_bits(np.full(shape, value, np.float32))])
