"""Which models a target comes from, as far as its files and model cards say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter.checkpoints.hub import CARD, download_card, read_card
from exporter.checkpoints.json_file import read_json
from exporter.checkpoints.lora.base_model import REPACKED
from exporter.checkpoints.named_target import NamedTarget
from exporter.checkpoints.source_folder import CACHED, SourceFolder, is_folder, is_hub_id
from exporter.errors import CheckpointError
from exporter.path_kind import CONFIG, base_of

MOST = 6
"""Models of a lineage that are looked at: a fine-tune of a fine-tune of a model is three."""


@dataclass(frozen=True)
class Ancestor:
    """The target, its adapter, or a model that one of them comes from."""

    name: str
    """A hub id or a folder's name."""
    folder: Path | None
    """Where its files are, as far as they are here."""
    on_hub: bool

    @staticmethod
    def of(found: SourceFolder) -> Ancestor:
        """What was named."""
        return Ancestor(found.source, found.folder, found.revision is not None)

    @staticmethod
    def named(base: str) -> Ancestor:
        """What a file names: a folder, a hub id, or a folder that was somewhere else."""
        if cached := CACHED.search(base):
            return Ancestor(cached[1].replace("--", "/", 1), None, on_hub=True)
        if is_folder(base):
            folder = Path(base).expanduser()
            return Ancestor(folder.resolve().name, folder, on_hub=False)
        if is_hub_id(base):
            return Ancestor(REPACKED.sub("", base), None, on_hub=True)
        return Ancestor(Path(base).name, None, on_hub=False)


def lineage(named: NamedTarget) -> Iterator[Ancestor]:
    """The adapter, the target, and what each of them comes from, nearest first.

    Of the hub, model cards are fetched as the iterator is advanced; what cannot be read names nothing.
    """
    given = [found for found in (named.adapter, named.target) if found is not None]
    waiting = [Ancestor.of(found) for found in given]
    seen: set[Ancestor] = set()
    while waiting and len(seen) < MOST:
        ancestor = waiting.pop(0)
        if ancestor in seen:
            continue
        seen.add(ancestor)
        yield ancestor
        waiting += [Ancestor.named(base) for base in _bases(ancestor)]


def _bases(ancestor: Ancestor) -> list[str]:
    """What its files name as its base."""
    folder = ancestor.folder
    found = [] if folder is None else [base_of(folder), *_config_names(folder)]
    if ancestor.on_hub:
        try:
            folder = download_card(ancestor.name, None)[0]
        except CheckpointError:
            folder = None
    if folder is not None:
        found += _card_names(folder)
    return [base for base in found if isinstance(base, str) and base.strip()]


def _config_names(folder: Path) -> list[object]:
    """The folder or hub id that a model was loaded from before it was saved."""
    try:
        return [read_json(folder / CONFIG).get("_name_or_path")]
    except (CheckpointError, OSError):
        return []


def _card_names(folder: Path) -> list[object]:
    try:
        base = read_card(folder / CARD).get("base_model")
    except CheckpointError:
        return []
    return base if isinstance(base, list) else [base]
