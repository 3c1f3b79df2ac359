"""The Gemma 4 text model as the engine calls it: embeddings and caches in, caches and logits out.

Embedding lookups are separate graphs (:class:`TokenEmbedder`, :class:`PerLayerEmbedder`), because
the engine runs them as sections of their own and never loads those tables into the accelerator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from exporter.checkpoints.architecture import AttentionKind, TargetConfig
from exporter.contract.names import Dtype
from exporter.model.text.batch import BatchKv, BatchStep, BatchView
from exporter.model.text.decoder import DecoderLayer
from exporter.model.text.filled import of_filled
from exporter.model.text.kv import Kv, KvT, Sight, View, filled_slots
from exporter.model.text.kv_int8 import Int8Kv, KvScales
from exporter.model.text.layers import RmsNorm, softcapped
from exporter.model.text.pieces import view_prefilled

Caches = dict[int, Kv]
"""KV caches by the index of the layer that owns them."""


@dataclass(frozen=True)
class Step:
    """What one forward pass gives back."""

    caches: Caches
    logits: Tensor  # [1, T, V], softcapped
    hidden: Tensor  # [1, T, H], after the final norm


class Target(nn.Module):
    """Decoder stack, final norm and head of a Gemma 4 target.

    Args:
        config: Its dimensions.
        kv_dtype: Element type of its caches.
        lengths: Numbers of slots that full attention chooses from, see ``exporter.model.text.filled``.
    """

    def __init__(
        self,
        config: TargetConfig,
        kv_dtype: Dtype = Dtype.FLOAT32,
        lengths: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.config, self.lengths = config, lengths
        text, layer_count = config.text, len(config.text.layers)
        self.per_layer_model_projection = nn.Linear(
            text.hidden_size, layer_count * config.per_layer_width, bias=False
        )
        self.per_layer_projection_norm = RmsNorm(config.per_layer_width, text.rms_norm_eps, rank=4)
        self.layers = nn.ModuleList(
            DecoderLayer(
                text, layer, per_layer_width=config.per_layer_width, writes_kv=layer.owns_kv
            )
            for layer in text.layers
        )
        self.norm = RmsNorm(text.hidden_size, text.rms_norm_eps, rank=3)
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.kv_scales = nn.ModuleDict()
        if kv_dtype is Dtype.INT8:
            for layer in config.kv_owners:
                self.kv_scales[str(layer.index)] = KvScales(layer.head_dim)

    def cache(self, layer: int, keys: Tensor, values: Tensor) -> Kv:
        """The caches that ``layer`` owns: ``[1, K, S, D]`` and ``[1, K, D, S]``, of ``kv_dtype``."""
        if not self.kv_scales:
            return Kv(keys, values)
        return Int8Kv(keys, values, cast("KvScales", self.kv_scales[str(layer)]))

    def forward(
        self, embeddings: Tensor, per_layer: Tensor, positions: Tensor, mask: Tensor, caches: Caches
    ) -> Step:
        """Run T tokens through the whole stack.

        Args:
            embeddings: Scaled embeddings ``[1, T, H]``.
            per_layer: Scaled per-layer embeddings ``[1, T, L, P]``.
            positions: int32 ``[T]``, consecutive; token t goes to slot ``positions[t]``.
            mask: bool ``[1, 1, T, S]``, true where a token may attend.
            caches: The caches of every layer that owns KV.
        """
        caches = self._assured(positions, caches)
        views = self._views(positions, mask, caches)
        written, hidden = self._run(embeddings, per_layer, views, positions[0], caches)
        return Step(written, self._logits(hidden), hidden)

    def forward_batch(
        self,
        embeddings: Tensor,
        per_layer: Tensor,
        positions: Tensor,
        mask: Tensor,
        caches: dict[int, BatchKv],
    ) -> BatchStep:
        """Run T tokens of each of B sequences through the whole stack.

        Args:
            embeddings: ``[B, T, H]``.
            per_layer: ``[B, T, L, P]``.
            positions: int32 ``[B, T]``, consecutive in each sequence.
            mask: bool ``[B, 1, T, S]``.
            caches: Of each sequence.
        """
        rows = [
            self._assured(own, {owner: kv.sequences[index] for owner, kv in caches.items()})
            for index, own in enumerate(positions.unbind(0))
        ]
        calls = zip(positions.unbind(0), mask.chunk(len(mask)), rows, strict=True)
        separate = [self._views(*call) for call in calls]
        views = {
            kind: BatchView.of_all([view[kind] for view in separate]) for kind in AttentionKind
        }
        placed = {owner: BatchKv(tuple(row[owner] for row in rows)) for owner in caches}
        written, hidden = self._run(embeddings, per_layer, views, positions[:, 0], placed)
        return BatchStep(written, self._logits(hidden), hidden)

    def _run(
        self,
        embeddings: Tensor,
        per_layer: Tensor,
        views: Mapping[AttentionKind, Sight[KvT]],
        slot: Tensor,
        caches: Mapping[int, KvT],
    ) -> tuple[dict[int, KvT], Tensor]:
        """The caches, written from ``slot`` on, and the hidden states after the final norm."""
        per_layer = self._mix_per_layer(embeddings, per_layer)
        written: dict[int, KvT] = {}
        seen: dict[int, KvT] = {}  # by owner, so that layers that share a cache share the cut, too
        x = embeddings
        for layer, module in zip(self.config.text.layers, self._stack(), strict=True):
            view = views[layer.kind]
            if layer.owns_kv:
                keys, values = module.keys_values(x, view.rotation)
                kv = caches[layer.index].written(keys, values, slot)
                written[layer.index], seen[layer.index] = kv, view.of(kv)
            x = module(x, view, seen[layer.kv_owner], per_layer[:, :, layer.index])
        return written, self.norm(x)

    def _logits(self, hidden: Tensor) -> Tensor:
        return softcapped(self.lm_head(hidden), self.config.logit_softcap)

    def prefill(
        self, embeddings: Tensor, per_layer: Tensor, positions: Tensor, mask: Tensor, caches: Caches
    ) -> Caches:
        """Fill the caches only: layers above the last one that owns KV need not run at all.

        Arguments as for :meth:`forward`, except that the last tokens may be padding, whose mask rows
        are false; their entries in the caches are garbage that later tokens overwrite.
        """
        caches = self._assured(positions, caches)
        views = self._views(positions, mask, caches, prefill=True)
        per_layer = self._mix_per_layer(embeddings, per_layer)
        owners, stack, end = self.config.kv_owners, self._stack(), filled_slots(mask)
        filled: Caches = {}
        x = embeddings
        for layer in owners:
            module, view = stack[layer.index], views[layer.kind]
            keys, values = module.keys_values(x, view.rotation)
            kv = caches[layer.index].prefilled(keys, values, positions[0], end)
            filled[layer.index] = kv.written
            if layer is not owners[-1]:
                x = module(x, view, view.of(kv.shown), per_layer[:, :, layer.index])
        return filled

    def prefill_unused(self, name: str) -> bool:
        """Whether :meth:`prefill` never reads the parameter called ``name``."""
        last = self.config.kv_owners[-1].index
        if not name.startswith("layers."):
            return name.startswith(("norm.", "lm_head."))
        index, part = name.removeprefix("layers.").split(".", 1)
        kv_parts = ("input_layernorm.", "self_attn.k_", "self_attn.v_")
        return int(index) > last or (int(index) == last and not part.startswith(kv_parts))

    def _stack(self) -> list[DecoderLayer]:
        return cast("list[DecoderLayer]", list(self.layers))

    def _assured(self, positions: Tensor, caches: Caches) -> Caches:
        """The caches, if what tokens at ``positions`` see is still in them; see :meth:`Kv.assured`."""
        reach = self.config.text.sliding_window - 1
        return {owner: kv.assured(positions[0], reach) for owner, kv in caches.items()}

    def _views(
        self, positions: Tensor, mask: Tensor, caches: Caches, *, prefill: bool = False
    ) -> dict[AttentionKind, View]:
        text = self.config.text
        kv = {kind: caches[self.config.kv_donor(kind).index] for kind in AttentionKind}
        rotations = {kind: kv[kind].rotation(positions, text.rope[kind]) for kind in AttentionKind}
        sliding, full = AttentionKind.SLIDING, AttentionKind.FULL
        seen = rotations[sliding], mask, positions, text.sliding_window
        if prefill:
            size = kv[sliding].prefill_piece(len(positions))
            latest = view_prefilled(kv[sliding], size, *seen)
        else:
            latest = kv[sliding].view_written(*seen)
        return {
            sliding: latest,
            full: of_filled(kv[full], kv[full].view_all(rotations[full], mask), mask, self.lengths),
        }

    def _mix_per_layer(self, embeddings: Tensor, per_layer: Tensor) -> Tensor:
        """Add the projection of the token's own embedding to its per-layer embeddings."""
        projected = self.per_layer_model_projection(embeddings) * self.config.text.hidden_size**-0.5
        normed = self.per_layer_projection_norm(projected.reshape(per_layer.shape))
        return (normed + per_layer) * 2.0**-0.5  # type: ignore[no-any-return]


class TokenEmbedder(nn.Module):
    """Token id ``[1, 1]`` to its embedding ``[1, 1, H]``, scaled by sqrt(H)."""

    def __init__(self, config: TargetConfig) -> None:
        super().__init__()
        self.scale = math.sqrt(config.text.hidden_size)
        self.weight = nn.Parameter(torch.empty(config.text.vocab_size, config.text.hidden_size))

    def forward(self, token_ids: Tensor) -> Tensor:
        embeddings: Tensor = nn.functional.embedding(token_ids, self.weight)
        return embeddings * self.scale


class PerLayerEmbedder(nn.Module):
    """Token id ``[1, 1]`` to its per-layer embeddings ``[1, 1, L, P]``, scaled by sqrt(P)."""

    def __init__(self, config: TargetConfig) -> None:
        super().__init__()
        self.shape = (1, 1, len(config.text.layers), config.per_layer_width)
        self.scale = math.sqrt(config.per_layer_width)
        width = len(config.text.layers) * config.per_layer_width
        self.weight = nn.Parameter(torch.empty(config.per_layer_vocab_size, width))

    def forward(self, token_ids: Tensor) -> Tensor:
        embeddings: Tensor = nn.functional.embedding(token_ids, self.weight)
        return embeddings.reshape(self.shape) * self.scale
