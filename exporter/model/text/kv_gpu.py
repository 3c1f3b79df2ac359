"""The KV caches as LiteRT's GPU delegate wants them: written and multiplied by its own operations.

The delegate keeps caches in buffers of its own layout, in place: ``odml.cache_update`` writes new
entries there and ``odml.runtime_bmm`` multiplies by what is there, both told by ``param_tensor``
which slots are in use. They are composites: a name, attributes, and a decomposition that other
backends run. Ordinary update slices and matrix products over the same buffers are refused, or read
a bank that is stale.

Source: the delegate's composite parsers (``add_values_to_cache_parser.cc``,
``runtime_batched_matmul_parser.cc`` in LiteRT), which fix names, operands, shapes and attributes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from litert_torch.backend.composite import StableHLOCompositeBuilder
from torch import Tensor

from exporter.checkpoints.architecture import Rope
from exporter.model.text.kv import Kv, View
from exporter.model.text.layers import MASKED_SCORE, Rotation
from exporter.model.text.rope_tables import looked_up


@dataclass(frozen=True)
class GpuKv(Kv):
    """The caches of one layer with ``params``, int32 ``[1, 1, 1, 7]``: start, end, end, 0..."""

    params: Tensor

    def written(self, keys: Tensor, values: Tensor, slot: Tensor) -> Kv:
        """See :meth:`Kv.written`; entries past ``params``' end or the caches' are not written."""
        kv_heads, slots, head_dim = self.keys.shape[1:]
        update = StableHLOCompositeBuilder(
            "odml.cache_update",
            {
                "kv_cache_batch_size": kv_heads,
                "cache_size": slots,
                "head_size": head_dim,
                "is_ring_buffer": False,
            },
        )
        zero = torch.zeros((), dtype=torch.int32)
        operands = (
            keys.permute(0, 2, 1, 3),
            values.permute(0, 2, 1, 3),
            self.params,
            self.keys,
            self.values,
            torch.stack([zero, zero, slot, zero]),
            torch.stack([zero, zero, zero, slot]),
        )
        new = _decomposed_update(*update.mark_inputs(*operands))
        new_keys, new_values = update.mark_outputs(new.keys, new.values)
        return GpuKv(new_keys, new_values, self.params)

    def written_padded(self, keys: Tensor, values: Tensor, slot: Tensor, filled: Tensor) -> Kv:
        """Write entries as :meth:`written` does: the delegate's operation leaves padding out by itself."""
        return self.written(keys, values, slot)

    def rotation(self, positions: Tensor, rope: Rope) -> Rotation:
        """See :meth:`Kv.rotation`; looked up, because a GPU computes it too coarsely."""
        return looked_up(positions, rope, self.keys.shape[-1], self.keys.shape[2])

    def scores(self, rows: Tensor) -> Tensor:
        """See :meth:`Kv.scores`; columns of slots that are not in use hold anything, even NaN."""
        return self._product(rows, self.keys, over_slots=False)

    def mixed(self, probabilities: Tensor) -> Tensor:
        """See :meth:`Kv.mixed`; slots that are not in use are left out of the sum."""
        return self._product(probabilities, self.values, over_slots=True)

    def view_all(self, rotation: Rotation, mask: Tensor) -> View:
        """See :meth:`Kv.view_all`."""
        return SelectingView(rotation, mask, None, mask.shape[-1])

    def view_latest(self, rotation: Rotation, mask: Tensor, newest: Tensor, reach: int) -> View:
        """See :meth:`Kv.view_latest`; the whole cache, since the delegate cannot cut it."""
        numbers = torch.arange(mask.shape[-1], dtype=torch.int32).reshape(1, 1, 1, -1)
        near = numbers >= (newest - (reach - 1)).reshape(1, 1, -1, 1)
        return SelectingView(rotation, mask & near, None, mask.shape[-1])

    def prefill_piece(self, tokens: int) -> int:
        """See :meth:`Kv.prefill_piece`: a piece would see the whole cache as well."""
        return tokens

    def _product(self, rows: Tensor, cache: Tensor, *, over_slots: bool) -> Tensor:
        product = StableHLOCompositeBuilder(
            "odml.runtime_bmm",
            {"is_global": False, "is_src": over_slots, "rhs_cache_update": True},
        )
        rows, cache, params = product.mark_inputs(rows, cache, self.params)
        rows = rows + _nothing(params).to(rows.dtype)  # the smaller operand to add it to
        result: Tensor = product.mark_outputs(rows @ cache.transpose(2, 3))
        return result


@dataclass(frozen=True)
class SelectingView(View):
    """A view whose ``bias`` is the bool mask itself, ``[1, 1, T, S]``.

    The delegate leaves the scores of unused slots unwritten, and NaN plus a bias is NaN: masked
    scores must be replaced.
    """

    def masked(self, scores: Tensor) -> Tensor:
        """See :meth:`View.masked`."""
        return torch.where(self.bias, scores, MASKED_SCORE)


def _decomposed_update(
    keys: Tensor,
    values: Tensor,
    params: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    key_start: Tensor,
    value_start: Tensor,
) -> Kv:
    """What other backends run: the same caches, with padding kept off good entries."""
    start, end = key_start[2] + _nothing(value_start), params.reshape(-1)[1]
    old = Kv(key_cache, value_cache)
    return old.written_padded(keys.permute(0, 2, 1, 3), values.permute(0, 2, 1, 3), start, end)


def _nothing(*operands: Tensor) -> Tensor:
    """Zero, computed from operands that a decomposition would otherwise lose for want of a use."""
    zero = torch.zeros((), dtype=torch.int32)
    for operand in operands:
        zero = zero + operand.sum(dtype=torch.int32) * 0
    return zero
