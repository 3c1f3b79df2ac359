"""Our torch modules with a checkpoint's weights in them, run eagerly in float32.

Weights come through ``exporter.checkpoints`` and ``exporter.weights.matching``, the way ``bind`` gets
them: names, shapes and layouts are under test too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from exporter.checkpoints.architecture import AttentionKind, HeadKind
from exporter.checkpoints.checkpoint import Checkpoint, open_checkpoint
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.checkpoints.pair import check_pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract import Dtype, Section
from exporter.lowering.signatures import parameter_specs
from exporter.model.text.drafter import Draft, Drafter
from exporter.model.text.kv import Kv
from exporter.model.text.target import Caches, PerLayerEmbedder, Step, Target, TokenEmbedder
from exporter.weights.matching import Weight, find_weights

CACHE_LENGTH = 256


@dataclass(frozen=True)
class Eager:
    """A pair, ready to run. Axis letters as in ``exporter.contract``; S is CACHE_LENGTH."""

    target: Target
    drafters: dict[HeadKind, Drafter]
    embedder: TokenEmbedder
    per_layer_embedder: PerLayerEmbedder

    def empty_caches(self, fill: float = 0.0) -> Caches:
        """Caches without a committed slot; ``fill`` stands for what an earlier text left behind."""
        caches = {}
        for layer in self.target.config.kv_owners:
            keys = torch.full((1, layer.kv_heads, CACHE_LENGTH, layer.head_dim), fill)
            caches[layer.index] = Kv(keys, keys.transpose(2, 3).clone())
        return caches

    def inputs(self, tokens: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Embeddings, per-layer embeddings, positions, mask of ``tokens`` [T] from ``start``."""
        ids = tokens.reshape(-1, 1, 1).int()
        embeddings = torch.cat([self.embedder(one) for one in ids], dim=1)
        per_layer = torch.cat([self.per_layer_embedder(one) for one in ids], dim=1)
        positions = torch.arange(start, start + len(tokens), dtype=torch.int32)
        mask = torch.arange(CACHE_LENGTH).reshape(1, 1, 1, -1) <= positions.reshape(1, 1, -1, 1)
        return embeddings, per_layer, positions, mask

    def forward(self, tokens: Tensor, start: int, caches: Caches) -> Step:
        """``decode`` or ``verify``: T tokens through the whole stack."""
        step: Step = self.target(*self.inputs(tokens, start), caches)
        return step

    def prefill(self, tokens: Tensor, start: int, caches: Caches) -> Caches:
        """``prefill_<T>``: caches only."""
        return self.target.prefill(*self.inputs(tokens, start), caches)

    def donors(self, caches: Caches) -> dict[AttentionKind, Kv]:
        """The caches that the drafter reads."""
        config = self.target.config
        return {kind: caches[config.kv_donor(kind).index] for kind in AttentionKind}

    def draft(
        self, head: HeadKind, token: Tensor, state: Tensor, committed: int, caches: Caches
    ) -> Draft:
        """One draft step after scalar ``token`` and ``state`` [H], ``committed`` slots filled."""
        activations = torch.cat([self.embedder(token.reshape(1, 1)), state.reshape(1, 1, -1)], -1)
        mask = (torch.arange(CACHE_LENGTH) < committed).reshape(1, 1, 1, -1)
        position = torch.tensor([committed - 1], dtype=torch.int32)
        draft: Draft = self.drafters[head](activations, position, mask, self.donors(caches))
        return draft


def load_pair(target_folder: Path, drafter_folder: Path) -> Eager:
    """Build every module of a pair from its checkpoints."""
    target, drafter = open_checkpoint(target_folder), open_checkpoint(drafter_folder)
    config = parse_target(target.config, "target")
    drafter_config = parse_drafter(drafter.config, "drafter")
    check_pair(config, drafter_config)
    eager = Eager(
        Target(config),
        {head: Drafter(drafter_config, head) for head in HeadKind},
        TokenEmbedder(config),
        PerLayerEmbedder(config),
    )
    with TensorReader() as reader:
        _fill(eager.target, Section.PREFILL_DECODE, target, drafter, reader)
        _fill(eager.embedder, Section.EMBEDDER, target, drafter, reader)
        _fill(eager.per_layer_embedder, Section.PER_LAYER_EMBEDDER, target, drafter, reader)
        for model in eager.drafters.values():
            _fill(model, Section.MTP_DRAFTER, target, drafter, reader)
    return eager


def _fill(
    model: nn.Module,
    section: Section,
    target: Checkpoint,
    drafter: Checkpoint,
    reader: TensorReader,
) -> None:
    found = find_weights({section: parameter_specs(model)}, target, drafter, reader)[section]
    model.load_state_dict({name: _tensor(weight) for name, weight in found.items()})


def _tensor(weight: Weight) -> Tensor:
    if weight.spec.dtype is Dtype.INT32:
        return torch.from_numpy(weight.ordering())
    rows = np.concatenate(list(weight.blocks()))
    return torch.from_numpy(rows).reshape(weight.spec.shape)
