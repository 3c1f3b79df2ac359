"""What was named as the target: a model, or an adapter, which says what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.checkpoints.json_file import is_there, read_json
from exporter.checkpoints.lora.base_model import REPACKED
from exporter.checkpoints.source_folder import (
    CACHED,
    Download,
    SourceFolder,
    is_folder,
    is_hub_id,
    locate,
    with_its_name,
)
from exporter.errors import CheckpointError
from exporter.path_kind import ADAPTER_CONFIG, CONFIG, Kind, kind_of


@dataclass(frozen=True)
class NamedTarget:
    """Where a target lies, and the adapter that is merged into it, if there is one."""

    target: SourceFolder
    adapter: SourceFolder | None
    inferred: bool = False
    """Whether only the adapter was named."""

    @property
    def sources(self) -> list[str]:
        """The target's name and, behind it, the adapter's."""
        return [self.target.source, *([self.adapter.source] if self.adapter else [])]

    @property
    def place(self) -> str:
        """Where it is and, behind that, where the adapter is."""
        return " + ".join(found.place for found in (self.target, self.adapter) if found is not None)

    def config(self) -> Mapping[str, Any]:
        """The target's ``config.json``.

        Raises:
            CheckpointError: There is none.
        """
        folder = self.target.folder
        if not is_there(folder / CONFIG):
            raise CheckpointError(kind_of(folder).instead_of("a folder with a config.json"))
        return read_json(folder / CONFIG)


def locate_target(
    name: str, revision: str | None, download: Download, adapter: str | None = None
) -> NamedTarget:
    """Find a target and its adapter; the name of an adapter stands for both.

    Args:
        name: A path or a hub id.
        revision: Branch, tag or commit of ``name`` on the hub; None for the default branch.
        download: How a hub id is fetched.
        adapter: Path or hub id of an adapter, if ``name`` is a model.

    Raises:
        CheckpointError: One of them is not there, or an adapter does not say what it was trained on.
    """
    found = locate(name, revision, download)
    if kind_of(found.folder).kind is not Kind.ADAPTER:
        return NamedTarget(found, None if adapter is None else locate(adapter, None, download))
    if adapter is not None:
        raise CheckpointError(
            f"{name}: expected a model for {adapter} to be merged into, found an adapter, too; one adapter "
            "can be merged: give it alone, or merge the other with PEFT first (merge_and_unload)"
        )
    return NamedTarget(_base(found, name, download), found, inferred=True)


def _base(adapter: SourceFolder, name: str, download: Download) -> SourceFolder:
    """The model that an adapter was trained on."""
    config = read_json(adapter.folder / ADAPTER_CONFIG)
    base, revision = config.get("base_model_name_or_path"), config.get("revision")
    give = f"give it: `export MODEL --lora {name}`"
    if not isinstance(base, str) or not base:
        raise CheckpointError(
            f"{name}: its {ADAPTER_CONFIG} does not say which model it was trained on; {give}"
        )
    try:
        return _locate_base(
            base, revision if isinstance(revision, str) else None, adapter, download
        )
    except CheckpointError as error:
        raise CheckpointError(
            f"{name} was trained on a model that is not found, {error}; if you have that model, {give}"
        ) from error


def _locate_base(
    base: str, revision: str | None, adapter: SourceFolder, download: Download
) -> SourceFolder:
    """Where the named model is: there, beside the adapter, or on the hub."""
    if is_folder(base):
        return locate(base, None, download)
    if cached := CACHED.search(base):
        return locate(cached[1].replace("--", "/", 1), cached[2], download)
    beside = with_its_name(adapter.folder).parent / Path(base).name
    if not is_hub_id(base) and adapter.revision is None and is_folder(beside):
        return locate(str(beside), None, download)
    whole = REPACKED.sub("", base)  # of a copy that is quantised for training
    return locate(whole, revision if whole == base else None, download)
