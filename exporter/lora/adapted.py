"""Which weights an adapter changes, and what of it no graph uses.

An adapter names modules of the model it was trained on; a weight of a graph is the ``weight`` of one
module. Head and embedding are two modules with one parameter where they are tied: what changes the
parameter changes both, what acts on one module's output changes only that module's weight, so the two
part.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.stored_tensor import StoredTensor
from exporter.checkpoints.text_modules import is_tower, text_module
from exporter.contract import Section
from exporter.errors import CheckpointError, listed
from exporter.lora.adapter import Adapter, ModuleChange
from exporter.lora.low_rank import LowRank

EMBEDDING, HEAD = "embed_tokens", "lm_head"

KV_PROJECTION = re.compile(r"layers\.\d+\.self_attn\.[kv]_proj")
"""Modules that earlier transformers also built for layers that use another layer's KV."""


@dataclass(frozen=True)
class Change:
    """What becomes of one weight: ``whole`` in its place (or the checkpoint's own), plus ``low_rank``."""

    whole: StoredTensor | None = None
    low_rank: LowRank | None = None

    def shapes(self) -> Iterator[tuple[tuple[int, ...], str]]:
        """Of each part, the shape of the weight that it fits, and the part's name."""
        if self.whole is not None:
            yield self.whole.shape, self.whole.name
        if self.low_rank is not None:
            yield self.low_rank.shape, self.low_rank.up.name


UNCHANGED = Change()


def module_of(section: Section, parameter: str) -> str:
    """The module of the text model whose weight a graph's parameter is."""
    if section is Section.EMBEDDER:
        return EMBEDDING
    if section is Section.PER_LAYER_EMBEDDER:
        return "embed_tokens_per_layer"
    return parameter.removesuffix(".weight")


def change_of(adapter: Adapter | None, module: str, *, tied: bool) -> Change:
    """What ``adapter`` does to the weight of ``module``.

    Args:
        adapter: None changes nothing.
        module: As :func:`module_of` names it.
        tied: Whether head and embedding are one parameter.
    """
    if adapter is None:
        return UNCHANGED
    own = adapter.changes.get(module)
    partner = _partner(adapter, module) if tied else None
    ties = adapter.config.ties_embeddings
    whole = own.whole if own else None
    low_rank = own.low_rank if own else None
    if partner is not None:
        whole = whole or (partner.whole if partner.in_place or ties else None)
        low_rank = low_rank or (partner.low_rank if ties else None)
    return Change(whole, low_rank)


def _partner(adapter: Adapter, module: str) -> ModuleChange | None:
    """The change of the module that shares this one's parameter."""
    return adapter.changes.get({EMBEDDING: HEAD, HEAD: EMBEDDING}.get(module, ""))


def unused_modules(checkpoint: Checkpoint, used: Collection[str]) -> list[str]:
    """Modules of the checkpoint's adapter that no graph has: towers, unused keys and values.

    Args:
        checkpoint: Whose adapter, if any, is looked at.
        used: The graphs' modules.

    Raises:
        CheckpointError: Listing modules that are not part of this model at all.
    """
    if checkpoint.adapter is None:
        return []
    in_model = {text_module(name).removesuffix(".weight") for name in checkpoint.tensors} | {HEAD}
    ignored: list[str] = []
    unknown: list[str] = []
    for module, change in checkpoint.adapter.changes.items():
        if module in used:
            continue
        known = module in in_model or is_tower(module) or KV_PROJECTION.fullmatch(module)
        (ignored if known else unknown).append(change.module)
    if unknown:
        raise CheckpointError(
            f"{checkpoint.adapter.folder}: the adapter changes modules that {checkpoint.source} does "
            f"not have; it was trained on another model: {listed(unknown)}"
        )
    return ignored
