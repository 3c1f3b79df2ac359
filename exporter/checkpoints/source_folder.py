"""Where a name on the command line leads: a folder, or a hub id and the folder it was downloaded to."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exporter.errors import CheckpointError
from exporter.path_kind import kind_of

CACHED = re.compile(r"(?:^|/)models--([^/]+)/snapshots/([^/]+)/?$")
"""A model in the hub's cache: its id, with ``--`` for ``/``, and the commit."""

HUB_PAGE = re.compile(r"(?:https?://)?(?:huggingface\.co|hf\.co)/([^/]+/[^/?#]+)")
"""The address of a model's page on the hub, with its id."""

Download = Callable[[str, str | None], tuple[Path, str]]
"""Fetches a hub id at a revision (None: the default branch); its folder and the commit it is."""


@dataclass(frozen=True)
class SourceFolder:
    """A folder, what the user named, and the commit it came from if that was a hub id."""

    folder: Path
    source: str
    revision: str | None

    @property
    def place(self) -> str:
        """What a user finds it by: its hub id, or the path of the folder."""
        return self.source if self.revision else str(self.folder)


def locate(name: str, revision: str | None, download: Download) -> SourceFolder:
    """Find a local folder, or download a hub id.

    Args:
        name: A path or a hub id such as ``google/gemma-4-E2B-it``.
        revision: Branch, tag or commit on the hub; None for the default branch.
        download: How a hub id is fetched.

    Raises:
        CheckpointError: Neither a folder nor something that looks like a hub id.
    """
    if not name.strip():
        raise CheckpointError("expected a folder or a hub id (owner/name), found an empty name")
    try:
        path = Path(name).expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError) as error:  # a name too long, or a home folder that is not there
        raise CheckpointError(f"{name}: not a path that can be read ({error})") from error
    if is_folder:
        if revision is not None:
            raise CheckpointError(f"{name} is a local folder; a revision applies to hub ids only")
        return _named(path)
    if is_file:
        raise CheckpointError(kind_of(path).instead_of("a folder or a hub id (owner/name)"))
    if page := HUB_PAGE.match(name):
        raise CheckpointError(
            f"{name}: expected a folder or a hub id, found the address of a page: give {page[1]}"
        )
    if not is_hub_id(name):
        raise CheckpointError(
            f"{name}: expected a folder or a hub id (owner/name), found no such folder"
        )
    folder, commit = download(name, revision)
    return SourceFolder(folder, name, commit)


def is_folder(name: str | Path) -> bool:
    """Whether there is a folder of this name; what cannot be the name of a file has none."""
    try:
        return Path(name).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):
        return False


def is_hub_id(name: str) -> bool:
    """Whether a name that is no folder's may be a hub id (owner/name)."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def last_name(name: str) -> str:
    """The last part of what a name leads to, a folder's or a hub id's; nothing is read."""
    source = _named(Path(name).expanduser()).source if is_folder(name) else name
    return source.rstrip("/").rpartition("/")[2]


def with_its_name(folder: Path) -> Path:
    """A folder by a path that has its name at its end, and whose parent is the folder it is in.

    ``.`` and ``..`` have neither.
    """
    return folder if folder.name not in ("", "..") else folder.resolve()


def _named(path: Path) -> SourceFolder:
    """A local folder by its name; one of the hub's cache by its hub id and commit."""
    whole = path.absolute()
    if cached := CACHED.search(whole.as_posix()):
        return SourceFolder(path, cached[1].replace("--", "/", 1), cached[2])
    return SourceFolder(path, path.resolve().name, None)
