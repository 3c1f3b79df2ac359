"""All draft steps of a round as one function: look up, draft one token, take the likeliest, again.

What stays the same over a round (rotations, masks, the stretch of the caches that is seen) is computed
once, and the full-width logits of a centroid head not at all. Each step's floats are those of a single
step, so the tokens are, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from exporter.checkpoints.architecture import AttentionKind, DrafterConfig, HeadKind, TargetConfig
from exporter.contract.names import Dtype
from exporter.model.text.drafter import Drafter, seen_by
from exporter.model.text.kv import Kv
from exporter.model.text.target import TokenEmbedder


class DraftRound(Drafter):
    """A drafter that looks embeddings up itself; its weights are the drafter's and the embedder's."""

    def __init__(
        self,
        target: TargetConfig,
        config: DrafterConfig,
        head: HeadKind,
        kv_dtype: Dtype = Dtype.FLOAT32,
        lengths: Sequence[int] = (),
    ) -> None:
        super().__init__(config, head, kv_dtype, lengths)
        self.embedder = TokenEmbedder(target)

    def draft(
        self,
        token: Tensor,
        hidden: Tensor,
        input_pos: Tensor,
        mask: Tensor,
        donors: dict[AttentionKind, Kv],
        count: int,
    ) -> Tensor:
        """``count`` draft tokens, int32 ``[count]``.

        Args:
            token: int32 ``[1, 1]``, the pending token.
            hidden: ``[1, 1, H]``, the target's hidden state before it.
            input_pos: As for :meth:`Drafter.forward`, like ``mask`` and ``donors``.
            mask: bool ``[1, 1, 1, S]``.
            donors: The target's caches.
            count: G.
        """
        views = self._views(input_pos, mask, donors)
        seen, tokens = seen_by(views, donors), list[Tensor]()
        for _ in range(count):
            activations = torch.cat([self.embedder(token), hidden], dim=-1)
            normed = self._hidden(activations, views, seen)
            token, hidden = self._likeliest(normed), self.post_projection(normed)
            tokens.append(token.reshape(1))
        return torch.cat(tokens)

    def _likeliest(self, hidden: Tensor) -> Tensor:
        """The token of the largest logit after ``hidden`` ``[1, 1, H]``; int32 ``[1, 1]``."""
        if self.masked_embedding is None:
            return self.lm_head(hidden).argmax(-1).int()  # type: ignore[no-any-return]
        return self.masked_embedding.likeliest(hidden, self.lm_head.weight)
