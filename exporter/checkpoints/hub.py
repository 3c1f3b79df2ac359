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
from exporter.path_kind import ADAPTER_CONFIG, CONFIG
from exporter.pip_install import pip_install

CARD = "README.md"
WANTED_FILES = ["*.json", "*.safetensors", "*.jinja"]


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
    """Fetch ``name`` into the hub's cache, with its own progress bars (see :func:`_snapshot`)."""
    return _snapshot(name, revision, WANTED_FILES)


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
    """Fetch nothing but the configuration of a model or adapter (see :func:`_snapshot`)."""
    return _snapshot(name, revision, [CONFIG, ADAPTER_CONFIG], quietly=True)


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
    name: str, revision: str | None, files: list[str], *, dry_run: bool, quietly: bool
) -> Any:
    """What the hub's library gives of the files that match these patterns; ``quietly`` without its bars.

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
            return snapshot_download(name, revision=revision, allow_patterns=files, dry_run=dry_run)
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
        raise _unanswered(at, error.__cause__) from error
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


def _unanswered(at: str, error: BaseException | None) -> HubError:
    """Why the hub gave nothing: the status that it answered with, or none."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is None:
        return HubError(
            f"{at}: no local folder of that name, and the hub could not be reached "
            f"({type(error).__name__}); check the path or the connection",
            "the hub could not be reached",
        )
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
