"""The name that tensors of different layers share: the layer's index is left open."""

from __future__ import annotations

import re

INDEX = re.compile(r"\.\d+(?=\.|$)")


def tensor_kind(name: str) -> str:
    """``layers.*.mlp.up_proj.weight`` of ``layers.7.mlp.up_proj.weight``; a pattern that recipes take."""
    return INDEX.sub(".*", name)
