"""A target that says what the tiny one says, in hidden states that its drafter does not know.

Signs are drawn for the final norm and undone in a head of its own: every text stays the same, and the stock
drafter, which reads hidden states, is misled. The drafter that undoes it is known in closed form.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from tests.bundles import TINY_DRAFTER, TINY_TARGET
from tests.checkpoints.variants import STOCK_PREFIX, Tensors, save_variant


def signs(width: int) -> Tensor:
    """Plus and minus one, drawn."""
    return torch.randint(0, 2, (width,), generator=torch.Generator().manual_seed(0)) * 2 - 1


def disguised_target(folder: Path) -> Path:
    """The tiny target in disguise."""

    def change(tensors: Tensors) -> Tensors:
        norm, table = (tensors[f"{STOCK_PREFIX}{n}.weight"] for n in ("norm", "embed_tokens"))
        drawn = signs(len(norm)).to(norm.dtype)
        changed = {f"{STOCK_PREFIX}norm.weight": norm * drawn, "lm_head.weight": table * drawn}
        return {**tensors, **changed}

    config = json.loads((TINY_TARGET / "config.json").read_text())
    text = {**config["text_config"], "tie_word_embeddings": False}
    return save_variant(folder, change, {"tie_word_embeddings": False, "text_config": text})


def undoing_drafter(folder: Path) -> Path:
    """The tiny drafter, which reads and writes hidden states with the signs undone."""

    def change(tensors: Tensors) -> Tensors:
        before, after = tensors["pre_projection.weight"], tensors["post_projection.weight"]
        drawn = signs(len(after)).to(after.dtype)
        embeddings, states = before.chunk(2, dim=1)
        return {
            **tensors,
            "pre_projection.weight": torch.cat([embeddings, states * drawn], 1).contiguous(),
            "post_projection.weight": after * drawn.unsqueeze(1),
        }

    return save_variant(folder, change, source=TINY_DRAFTER)
