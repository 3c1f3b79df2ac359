"""Checkpoints by hub id, through huggingface_hub: weights, configs and tokenizer files, or configs alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from exporter.checkpoints.checkpoint import Checkpoint, resolve
from exporter.checkpoints.hub_sums import check_small_files
from exporter.checkpoints.json_file import is_there
from exporter.errors import CheckpointError
from exporter.path_kind import ADAPTER_CONFIG, CONFIG, Kind, kind_of, kind_of_listing
from exporter.pip_install import pip_install

CARD = "README.md"
WANTED_FILES = ["*.json", "*.safetensors", "*.jinja"]
UNWANTED_FILES = ["*/*.json", "*/*.safetensors"]
"""Of folders within a model, which are other models: the checkpoints of its training, often."""

READABLE = (Kind.CHECKPOINT, Kind.ADAPTER, Kind.BOTH)


class HubError(CheckpointError):
    """The hub has no such model, does not hand it out, or is out of reach: ``reason`` says which."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def load_checkpoint(
    name: str | Path, revision: str | None = None, adapter: str | Path | None = None
) -> Checkpoint:
    """Open a local folder, or a hub id, which is downloaded first; weights are not read yet.

    Args:
        name: A folder or a hub id; of an adapter, to open the model it was trained on and merge it.
        revision: Branch, tag or commit on the hub; None for the default branch.
        adapter: Folder or hub id of a LoRA adapter to merge into the weights.

    Raises:
        CheckpointError: Neither a folder nor a hub id, or what is there cannot be read.
    """
    return resolve(str(name), revision, download, None if adapter is None else str(adapter))


def download(name: str, revision: str | None) -> tuple[Path, str]:
    """Fetch ``name`` into the hub's cache, with its own progress bars (see :func:`_snapshot`).

    Raises:
        CheckpointError: As there; or it is no checkpoint and no adapter.
    """
    folder, commit = _snapshot(name, revision, WANTED_FILES)
    if kind_of(folder).kind not in READABLE:
        _refuse_for_what_it_is(name, revision)
    return folder, commit


@dataclass(frozen=True)
class HubFile:
    """A file of a model on the hub, as :func:`download` would fetch it."""

    name: str
    nbytes: int
    here: bool
    """Whether the hub's cache has it."""


def list_files(name: str, revision: str | None) -> list[HubFile]:
    """What :func:`download` would fetch; nothing is.

    Raises:
        HubError: The hub has no such model or revision, access is denied, or it is out of reach.
    """
    found = _asked(name, revision, WANTED_FILES, dry_run=True, quietly=True)
    return [HubFile(each.filename, each.file_size, not each.will_download) for each in found]


def cache_folder() -> Path:
    """Where the hub's files are kept."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def download_config(name: str, revision: str | None) -> tuple[Path, str]:
    """Fetch nothing but the configuration of a model or adapter (see :func:`_snapshot`).

    Raises:
        CheckpointError: As there; or it has none.
    """
    folder, commit = _snapshot(name, revision, [CONFIG, ADAPTER_CONFIG], quietly=True)
    if not any(is_there(folder / config) for config in (CONFIG, ADAPTER_CONFIG)):
        _refuse_for_what_it_is(name, revision)
    return folder, commit


def download_card(name: str, revision: str | None) -> tuple[Path, str]:
    """Fetch nothing but the model card of ``name`` (see :func:`_snapshot`)."""
    return _snapshot(name, revision, [CARD], quietly=True)


def read_card(path: Path) -> dict[str, Any]:
    """The front matter of a model card.

    Raises:
        CheckpointError: There is no card, it has no front matter that can be read, or huggingface_hub, which
            reads it, is not installed.
    """
    if not is_there(path):
        raise CheckpointError(f"{path}: there is no model card; give --license ID")
    try:
        from huggingface_hub import metadata_load
        from yaml import YAMLError
    except ImportError as error:
        raise CheckpointError(f"{path}: to read a model card: {pip_install('export')}") from error
    try:
        found: dict[str, Any] | None = metadata_load(path)
    except (OSError, RecursionError, ValueError, YAMLError) as error:
        raise CheckpointError(f"{path}: the front matter cannot be read ({error})") from error
    return found or {}


def _refuse_for_what_it_is(name: str, revision: str | None) -> None:
    """Refuse a model whose files are others than those that are read.

    Raises:
        HubError: Naming what the hub has of it; not where the hub cannot be asked.
    """
    try:
        files = [each.filename for each in _asked(name, revision, None, dry_run=True, quietly=True)]
    except HubError:  # whoever opens the folder says what is missing
        return
    found = kind_of_listing(Path(name), files)
    if found.kind not in READABLE:
        refusal = found.instead_of("config.json and safetensors weights, or a LoRA adapter")
        raise HubError(refusal, f"has {found.found}")


def _snapshot(
    name: str, revision: str | None, files: list[str], *, quietly: bool = False
) -> tuple[Path, str]:
    """Fetch the files of a model that match these patterns (see :func:`_asked`).

    Returns:
        The snapshot's folder and the commit it resolved to.

    Raises:
        CheckpointError: As there; or a small file is not what the hub has.
    """
    folder = Path(_asked(name, revision, files, dry_run=False, quietly=quietly))
    check_small_files(folder)
    return folder, folder.name


def _asked(
    name: str, revision: str | None, files: list[str] | None, *, dry_run: bool, quietly: bool
) -> Any:
    """What the hub's library gives of the files that match these patterns; ``quietly`` without its bars.

    Without patterns: of all files.

    Returns:
        The snapshot's folder or, of a dry run, what would be fetched.

    Raises:
        HubError: The hub has no such model or revision, access is denied, or it is out of reach.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            HFValidationError,
            IncompleteSnapshotError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise HubError(
            f"{name}: no local folder of that name; to download it from the hub: "
            f"{pip_install('export')}",
            "huggingface_hub is not installed",
        ) from error

    at = f"{name}@{revision}" if revision else name
    no_folder = "no local folder of that name"
    try:
        with _quiet() if quietly else nullcontext():
            return snapshot_download(
                name,
                revision=revision,
                allow_patterns=files,
                ignore_patterns=UNWANTED_FILES if files else None,
                dry_run=dry_run,
            )
    except GatedRepoError as error:
        raise HubError(
            f"{at}: the hub wants you to accept this model's licence first; do so on its page and run "
            "`hf auth login`",
            "its licence is not accepted yet",
        ) from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"{at}: {no_folder} and no such model on the hub (or it is private: run `hf auth login`)",
            "not on the hub",
        ) from error
    except RevisionNotFoundError as error:
        raise HubError(
            f"{at}: the hub has this model but not this revision", "no such revision"
        ) from error
    except HFValidationError as error:
        raise HubError(
            f"{name}: {no_folder}, and not a hub id (owner/name)", "not a hub id"
        ) from error
    except LocalEntryNotFoundError as error:  # which hides what the hub answered, if it did
        partly = isinstance(error, IncompleteSnapshotError)
        raise _unanswered(at, error.__cause__, partly=partly) from error
    except HfHubHTTPError as error:
        raise _unanswered(at, error) from error
    except (
        Exception
    ) as error:  # of its HTTP library, of a disk, of answers that are not as expected
        raise HubError(
            f"{at}: downloading it from the hub failed ({type(error).__name__}: {error}); run it again: "
            "what was downloaded whole is kept",
            "downloading failed",
        ) from error


def _unanswered(at: str, error: BaseException | None, *, partly: bool = False) -> HubError:
    """Why the hub gave nothing: the status that it answered with, or none.

    Args:
        at: What was asked for.
        error: What was raised.
        partly: Whether the cache has some of its files.
    """
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is None:
        have = (
            "only a part of it is in the hub's cache" if partly else "no local folder of that name"
        )
        why = f"the hub could not be reached ({type(error).__name__}); check the path or the connection"
        if type(error).__name__ == "OfflineModeIsEnabled":
            why = "HF_HUB_OFFLINE keeps the hub from being asked; unset it, or download the model first"
        return HubError(f"{at}: {have}, and {why}", "the hub could not be reached")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return HubError(
            f"{at}: the hub refuses access (status {status}); run `hf auth login`, or check your token",
            "the hub refuses access",
        )
    return HubError(
        f"{at}: the hub answered with status {status}; try again later",
        f"the hub answered with status {status}",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """The hub's library draws no bars and warns of nothing."""
    from huggingface_hub import utils

    hidden, verbosity = utils.are_progress_bars_disabled(), utils.logging.get_verbosity()
    utils.disable_progress_bars()
    utils.logging.set_verbosity_error()
    try:
        yield
    finally:
        utils.logging.set_verbosity(verbosity)
        if not hidden:
            utils.enable_progress_bars()
