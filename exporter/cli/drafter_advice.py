"""What to do next where a drafter may have been made for another target than the one it was exported with."""

from __future__ import annotations

from exporter.checkpoints.checkpoint import TUNING, Checkpoint
from exporter.checkpoints.drafter_search import SUFFIX


def drafter_advice(target: Checkpoint, drafter: Checkpoint, measure: str) -> str | None:
    """One sentence; None where there is no sign that the drafter is another target's.

    Args:
        target: As it was exported.
        drafter: Likewise. One with an adapter of its own was adapted already.
        measure: The command that tells what MTP brings.
    """
    if drafter.adapter is not None or (drafter.folder / TUNING).is_file():
        return None
    if target.adapter is not None:
        sign = f"the drafter was made for the target without {target.adapter.source}"
    elif made_for := _another_target(target, drafter):
        sign = f"by its name the drafter was made for {made_for}, not for {target.source}"
    else:
        return None
    return (
        f"{sign}, so fewer drafts may be right: see whether MTP pays with `{measure} --prompts FILE`, on "
        "prompts of your own; if it does not, adapt the drafter with `mtp-export tune`"
    )


def _another_target(target: Checkpoint, drafter: Checkpoint) -> str | None:
    """The target that the drafter's name names, if it is not this one.

    A folder may be called anything; names of hub ids are compared with each other, and of folders likewise.
    """
    if ("/" in drafter.source) != ("/" in target.source):
        return None
    name, own = (checkpoint.source.rpartition("/")[2] for checkpoint in (drafter, target))
    stem = name.removesuffix(SUFFIX)
    return stem if stem not in (name, own) else None
