"""Whether the base model that an adapter names is the target it is merged into.

Names tell this only roughly: the same weights have several hub ids and lie in folders of any name. So the
result is a note and no error; whether tensors fit is checked elsewhere.
"""

from __future__ import annotations

import re

from exporter.checkpoints.source_folder import CACHED

REPACKED = re.compile(r"(-unsloth)?(-bnb-[48]bit)?$")
"""Ends of names under which the same weights are published again, quantised for training."""


def base_note(base: str | None, target: str) -> str | None:
    """One sentence if an adapter names another base than the target; None if it names none.

    Args:
        base: As the adapter's configuration names it.
        target: What the user named: a hub id, or a folder's name.
    """
    if base is None or _plain(base) == _plain(target):
        return None
    return f"the adapter names {base} as its base; the target is {target}"


def _plain(name: str) -> str:
    """A model's name without owner, folders and what says how it was packed."""
    cached = CACHED.search(name)
    named = cached[1].replace("--", "/", 1) if cached else name.rstrip("/")
    return REPACKED.sub("", named.rsplit("/", 1)[-1].lower())
