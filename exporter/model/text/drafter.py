"""The MTP drafter: query-only layers over the target's KV caches, one token per step.

Positions: the engine passes ``input_pos`` = P - 1, the last slot the target has committed, for every
step of a draft; P is the position of the pending token. Queries turn by P (transformers holds its
``position_ids`` at P), so the graph adds 1. What the drafter may see is transformers' assistant mask:
all slots up to P - 1 on full layers, and on sliding layers the last ``sliding_window + 1`` of them.

Source: transformers ``models/gemma4_assistant/modeling_gemma4_assistant.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from exporter.checkpoints.architecture import AttentionKind, CentroidHead, DrafterConfig, HeadKind
from exporter.contract.names import Dtype
from exporter.model.text.batch import BatchKv, BatchView
from exporter.model.text.decoder import DecoderLayer
from exporter.model.text.filled import of_filled
from exporter.model.text.kv import Kv, KvT, Sight, View
from exporter.model.text.kv_int8 import Int8Kv, KvScales
from exporter.model.text.layers import RmsNorm

FLOOR_LOGIT = -1.0e4
"""Logit of the tokens that a centroid head does not score; below any real one, finite in float16."""


def widened(logits: Tensor, vocab_size: int) -> Tensor:
    """A drafter's logits as ``[B, 1, vocab_size]``: tokens that it does not know have the floor's.

    A fine-tune added them to the target after the drafter was trained; they are never drafted.
    """
    unknown = vocab_size - logits.shape[-1]
    if unknown == 0:
        return logits
    floor = torch.full((*logits.shape[:-1], unknown), FLOOR_LOGIT)
    return torch.cat([logits, floor], dim=-1)


@dataclass(frozen=True)
class Draft:
    """What one draft step gives back."""

    logits: Tensor  # [B, 1, V]
    projected: Tensor  # [B, 1, H of the target]: the hidden state of the next step


class OrderedEmbeddingHead(nn.Module):
    """Scores only the tokens of the ``top_k`` clusters nearest to the hidden state."""

    def __init__(self, head: CentroidHead, hidden_size: int, vocab_size: int) -> None:
        super().__init__()
        self.top_k, self.vocab_size = head.top_k, vocab_size
        self.centroids = nn.Linear(hidden_size, head.count, bias=False)
        members = torch.zeros(head.count, vocab_size // head.count, dtype=torch.int32)
        self.token_ordering = nn.Parameter(members, requires_grad=False)

    def forward(self, hidden: Tensor, rows: Tensor) -> Tensor:
        """Logits ``[1, 1, V]`` of ``hidden`` ``[1, 1, H]`` against the embedding ``rows`` ``[V, H]``."""
        tokens, scores = self._candidates(hidden, rows)
        floor = torch.full((self.vocab_size,), FLOOR_LOGIT)
        return floor.scatter(0, tokens.long(), scores).reshape(1, 1, -1)

    def likeliest(self, hidden: Tensor, rows: Tensor) -> Tensor:
        """The token of the largest logit, of equals the smallest; int32 ``[1, 1]``.

        Without the logits of all others: a candidate's is above the floor.
        """
        tokens, scores = self._candidates(hidden, rows)
        best = torch.where(scores == scores.amax(), tokens, self.vocab_size)
        return best.amin().reshape(1, 1)

    def _candidates(self, hidden: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens that are scored, int32, and their scores."""
        _, clusters = torch.topk(self.centroids(hidden).reshape(-1), self.top_k)
        tokens = self.token_ordering.index_select(0, clusters).reshape(-1)
        candidates = nn.functional.embedding(tokens, rows)  # [candidates, H]
        # With one column a matrix product is mostly preparation: a sum of products is a quarter of it.
        return tokens, (candidates * hidden.reshape(1, -1)).sum(-1)


class Drafter(nn.Module):
    """The assistant's stack with its projections from and to the target's width.

    Args:
        config: Its dimensions.
        head: How it scores the vocabulary.
        kv_dtype: Element type of the target's caches.
        lengths: As for the target.
    """

    def __init__(
        self,
        config: DrafterConfig,
        head: HeadKind,
        kv_dtype: Dtype = Dtype.FLOAT32,
        lengths: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.config, self.lengths = config, lengths
        text, width = config.text, config.backbone_hidden_size
        self.pre_projection = nn.Linear(2 * width, text.hidden_size, bias=False)
        self.layers = nn.ModuleList(
            DecoderLayer(text, layer, per_layer_width=0, writes_kv=False) for layer in text.layers
        )
        self.norm = RmsNorm(text.hidden_size, text.rms_norm_eps, rank=3)
        self.post_projection = nn.Linear(text.hidden_size, width, bias=False)
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.masked_embedding = None
        if head is HeadKind.CENTROID:
            assert config.centroid_head is not None
            self.masked_embedding = OrderedEmbeddingHead(
                config.centroid_head, text.hidden_size, text.vocab_size
            )
        self.kv_scales = nn.ModuleDict()
        if kv_dtype is Dtype.INT8:
            for layer in text.layers:
                self.kv_scales[layer.kind.value] = KvScales(layer.head_dim)

    def donor(self, kind: AttentionKind, keys: Tensor, values: Tensor) -> Kv:
        """The target's caches that layers of ``kind`` read, of ``kv_dtype``."""
        if not self.kv_scales:
            return Kv(keys, values)
        return Int8Kv(keys, values, cast("KvScales", self.kv_scales[kind.value]))

    def forward(
        self, activations: Tensor, input_pos: Tensor, mask: Tensor, donors: dict[AttentionKind, Kv]
    ) -> Draft:
        """Draft one token.

        Args:
            activations: ``[1, 1, 2H]``: scaled target embedding of the last token, then the target's
                hidden state (first step) or the previous step's ``projected``.
            input_pos: int32 ``[1]``, the last committed slot; the same for all steps of a draft.
            mask: bool ``[1, 1, 1, S]``, true where a slot is committed.
            donors: The target's caches that layers of each kind read.
        """
        views = self._views(input_pos, mask, donors)
        return self._step(activations, views, seen_by(views, donors))

    def forward_batch(
        self,
        activations: Tensor,
        input_pos: Tensor,
        mask: Tensor,
        donors: dict[AttentionKind, BatchKv],
    ) -> Draft:
        """Draft one token of each of B sequences.

        Args:
            activations: ``[B, 1, 2H]``.
            input_pos: int32 ``[B, 1]``.
            mask: bool ``[B, 1, 1, S]``.
            donors: The target's caches of each sequence.
        """
        pairs = list(zip(input_pos.unbind(0), mask.chunk(len(mask)), strict=True))
        views = {
            kind: BatchView.of_all(
                [
                    self._view(kind, position, own_mask, kv)
                    for (position, own_mask), kv in zip(pairs, donor.sequences, strict=True)
                ]
            )
            for kind, donor in donors.items()
        }
        return self._step(activations, views, seen_by(views, donors))

    def _step(
        self,
        activations: Tensor,
        views: Mapping[AttentionKind, Sight[KvT]],
        seen: Mapping[AttentionKind, KvT],
    ) -> Draft:
        hidden = self._hidden(activations, views, seen)
        return Draft(self._logits(hidden), self.post_projection(hidden))

    def _hidden(
        self,
        activations: Tensor,
        views: Mapping[AttentionKind, Sight[KvT]],
        seen: Mapping[AttentionKind, KvT],
    ) -> Tensor:
        """After the final norm, ``[B, 1, H]``."""
        x = self.pre_projection(activations)
        for layer, module in zip(self.config.text.layers, self.layers, strict=True):
            x = module(x, views[layer.kind], seen[layer.kind])
        return self.norm(x)  # type: ignore[no-any-return]

    def _logits(self, hidden: Tensor) -> Tensor:
        if self.masked_embedding is None:
            return self.lm_head(hidden)  # type: ignore[no-any-return]
        rows = [hidden] if hidden.shape[0] == 1 else hidden.chunk(len(hidden))
        scored = [self.masked_embedding(row, self.lm_head.weight) for row in rows]
        return scored[0] if len(scored) == 1 else torch.cat(scored)

    def _views(
        self, input_pos: Tensor, mask: Tensor, donors: Mapping[AttentionKind, Kv]
    ) -> dict[AttentionKind, View]:
        return {kind: self._view(kind, input_pos, mask, kv) for kind, kv in donors.items()}

    def _view(self, kind: AttentionKind, input_pos: Tensor, mask: Tensor, kv: Kv) -> View:
        text = self.config.text
        rotation = kv.rotation(input_pos + 1, text.rope[kind])
        if kind is AttentionKind.FULL:
            return of_filled(kv, kv.view_all(rotation, mask), mask, self.lengths)
        return kv.view_latest(rotation, mask, input_pos, text.sliding_window + 1)


def seen_by(
    views: Mapping[AttentionKind, Sight[KvT]], donors: Mapping[AttentionKind, KvT]
) -> dict[AttentionKind, KvT]:
    """What the views show of the donors' caches."""
    return {kind: view.of(donors[kind]) for kind, view in views.items()}
