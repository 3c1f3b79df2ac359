"""Which weights an adapter changes, and what of it no graph uses.

An adapter names modules of the model it was trained on; a weight of a graph is the ``weight`` of one
module. Where head and embedding are tied, they are two modules with one parameter. A change of the
parameter then changes both weights. A change of one module's output changes only that module's weight, and
head and embedding become two different weights.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.lora.adapter import Adapter, ModuleChange
from exporter.checkpoints.lora.low_rank import LowRank
from exporter.checkpoints.lora.token_rows import TokenRows
from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.checkpoints.tensors.text_modules import is_tower, text_module
from exporter.checkpoints.tensors.tower_names import BY_SECTION
from exporter.contract.names import Section
from exporter.errors import CheckpointError, listed

EMBEDDING, HEAD = "embed_tokens", "lm_head"

KV_PROJECTION = re.compile(r"layers\.\d+\.self_attn\.[kv]_proj")
"""Modules that earlier transformers also built for layers that use another layer's KV."""


WRAPPED = ".linear"
"""The layer within a tower's Gemma4ClippableLinear, which PEFT does not adapt: many train without this
wrapper, and their adapters name the layer by its place."""


@dataclass(frozen=True)
class Change:
    """The change of one weight: ``whole`` replaces the checkpoint's, ``rows`` then changes its rows."""

    whole: StoredTensor | None = None
    rows: LowRank | TokenRows | None = None

    def misfits(self, shape: tuple[int, ...]) -> Iterator[str]:
        """Why a weight of this shape cannot be changed so."""
        if self.whole is not None and self.whole.shape != shape:
            yield f"{self.whole.name} is for shape {list(self.whole.shape)}, expected {list(shape)}"
        if self.rows is not None and (problem := self.rows.misfit(shape)):
            yield problem

    def grows(self, shape: tuple[int, ...]) -> bool:
        """Whether training added rows to a table of this shape."""
        if isinstance(self.rows, TokenRows) and max(self.rows.tokens, default=0) >= shape[0]:
            return True
        return (
            self.whole is not None
            and self.whole.shape[1:] == shape[1:]
            and self.whole.shape > shape
        )


UNCHANGED = Change()


def module_of(section: Section, parameter: str) -> str:
    """The module whose weight a graph's parameter is: of the text model, or of a tower."""
    if (tower := BY_SECTION.get(section)) is not None:
        return tower.of(section, parameter).removesuffix(".weight")
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
    own = adapter.changes.get(module) or adapter.changes.get(module.removesuffix(WRAPPED))
    partner = _partner(adapter, module) if tied else None
    ties = adapter.config.ties_embeddings
    whole = own.whole if own else None
    rows = own.rows if own else None
    if partner is not None:
        whole = whole or (partner.whole if partner.in_place or ties else None)
        of_tokens = module == HEAD and isinstance(partner.rows, TokenRows)  # which PEFT ties itself
        rows = rows or (partner.rows if ties or of_tokens else None)
    return Change(whole, rows)


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
        if module in used or module + WRAPPED in used:
            continue
        known = module in in_model or is_tower(module) or KV_PROJECTION.fullmatch(module)
        (ignored if known else unknown).append(change.module)
    if unknown:
        raise CheckpointError(
            f"{checkpoint.adapter.folder}: the adapter changes modules that {checkpoint.source} does "
            f"not have; it was trained on another model: {listed(unknown)}"
        )
    return ignored
