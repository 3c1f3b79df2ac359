"""Our torch modules with a checkpoint's weights in them, run eagerly in float32.

Weights come through ``exporter.checkpoints`` and ``exporter.weights.matching``, the way ``bind`` gets
them, and into the modules as ``verify`` puts them there: names, shapes and layouts are under test too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from exporter.checkpoints.architecture import AttentionKind, HeadKind
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import Section
from exporter.model.text.drafter import Draft, Drafter
from exporter.model.text.kv import Kv
from exporter.model.text.target import Caches, PerLayerEmbedder, Step, Target, TokenEmbedder
from exporter.verify.sides.torch_pair import filled, from_checkpoints
from exporter.weights.matching import find_weights
from exporter.weights.parameters import parameter_specs
from tests.bundles import SHORT_CACHE

CACHE_LENGTH = SHORT_CACHE


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
    pair = Pair.of(target, drafter)
    with TensorReader() as reader:
        sources = {
            head: from_checkpoints(
                find_weights(
                    parameter_specs(pair.target_config, pair.drafter_config, head),
                    target,
                    drafter,
                    reader,
                )
            )
            for head in HeadKind
        }
        source = sources[HeadKind.FULL]
        config = (pair.target_config,)
        return Eager(
            filled(Target, config, source[Section.PREFILL_DECODE]),
            {
                head: filled(Drafter, (pair.drafter_config, head), found[Section.MTP_DRAFTER])
                for head, found in sources.items()
            },
            filled(TokenEmbedder, config, source[Section.EMBEDDER]),
            filled(PerLayerEmbedder, config, source[Section.PER_LAYER_EMBEDDER]),
        )
