"""Finding the drafter of a target: tuned to it, beside it, or on the hub under the name that Google gives.

Google calls the drafter of google/gemma-4-E2B-it google/gemma-4-E2B-it-assistant. Of its targets that are
trained for quantisation (-qat-q4_0-unquantized, -qat-w4a16-ct, -qat-mobile-...), one has a drafter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from exporter.checkpoints.architecture import TargetConfig
from exporter.checkpoints.checkpoint import TUNING
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.checkpoints.hub import HubError, download_config
from exporter.checkpoints.json_file import read_json
from exporter.checkpoints.lineage import Ancestor, lineage
from exporter.checkpoints.named_target import NamedTarget, locate_target
from exporter.checkpoints.pair import check_pair, tuned_to
from exporter.checkpoints.source_folder import with_its_name
from exporter.errors import CheckpointError, ConfigError, MismatchError, MtpExportError
from exporter.path_kind import CONFIG

SUFFIX = "-assistant"
"""Of a drafter's name: what is before it is its target's."""

GOOGLES = re.compile(r"gemma-4-e([24])b(-it)?(-qat-.+)?", re.IGNORECASE)
QAT_DRAFTER = "-qat-q4_0-unquantized-assistant"

BY_SHAPE = {(1536, 35): "google/gemma-4-E2B-it", (2560, 42): "google/gemma-4-E4B-it"}
"""Google's models by width and layers: a model that was merged and saved says nothing of where it is from."""

BESIDE = ("assistant", "drafter")
"""Names of folders beside a target that say what they are, and not whose."""


def find_drafter(
    name: str | Path, revision: str | None = None, adapter: str | Path | None = None
) -> str:
    """The drafter of a target, as a folder or hub id; of the hub only configs and model cards are fetched.

    Args:
        name: The target, a folder or a hub id; or an adapter.
        revision: Branch, tag or commit of ``name`` on the hub.
        adapter: Folder or hub id of an adapter for the target.

    Raises:
        CheckpointError: None is found, or the target cannot be read.
        ConfigError: The target is not one that can be exported.
    """
    given = None if adapter is None else str(adapter)
    return drafter_of(locate_target(str(name), revision, download_config, given))


def drafter_of(named: NamedTarget, *, tuned: bool = True) -> str:
    """The drafter of a target (see :func:`find_drafter`); ``tuned`` ones come first, or are left out."""
    config = parse_target(named.config(), str(named.target.folder))
    if tuned and (found := _tuned(named)) is not None:
        return found
    tried: dict[str, str] = {}
    for candidate in _candidates(named, config):
        if str(candidate) in tried:
            continue
        if (objection := _objection(candidate, config)) is None:
            return str(candidate)
        tried[str(candidate)] = objection
    told = ", ".join(f"{candidate} ({objection})" for candidate, objection in tried.items())
    raise CheckpointError(
        f"{named.place}: no drafter was found; tried {told}. Name one behind TARGET, or give "
        "--no-drafter for a bundle without speculative decoding"
    )


def _tuned(named: NamedTarget) -> str | None:
    """A drafter in or beside the target's or the adapter's folder that `tune` made for just these."""
    given = [found for found in (named.adapter, named.target) if found is not None]
    local = [with_its_name(found.folder) for found in given if found.revision is None]
    around = [folder for own in local for near in (own.parent, own) for folder in _folders(near)]
    # The two may be named by paths of different kinds, and what is around both is one folder then.
    apart = {folder.resolve(): folder for folder in reversed(around)}
    found = [folder for folder in sorted(apart.values()) if _tuned_target(folder) == named.sources]
    if len(found) > 1:
        raise CheckpointError(
            f"{named.place}: several drafters were tuned to it "
            f"({', '.join(map(str, found))}); name one behind TARGET"
        )
    return str(found[0]) if found else None


def _tuned_target(folder: Path) -> list[str] | None:
    """Whom a drafter was tuned to; None if it was not, or if that cannot be read."""
    try:
        return tuned_to(read_json(folder / TUNING))
    except (CheckpointError, OSError):
        return None


def _folders(folder: Path) -> list[Path]:
    try:
        return [entry for entry in sorted(folder.iterdir()) if (entry / TUNING).is_file()]
    except OSError:
        return []


def _candidates(named: NamedTarget, config: TargetConfig) -> Iterator[Path | str]:
    """Folders and hub ids that may be the drafter, likelier ones first."""
    for ancestor in lineage(named):
        if not ancestor.on_hub and ancestor.folder is not None:
            own = with_its_name(ancestor.folder)
            yield own.with_name(f"{own.name}{SUFFIX}")
            yield from (f for f in map(own.with_name, BESIDE) if f.is_dir())
        yield from _hub_names(ancestor)
    if base := BY_SHAPE.get((config.text.hidden_size, len(config.text.layers))):
        yield f"{base}{SUFFIX}"


def _hub_names(ancestor: Ancestor) -> Iterator[str]:
    """Hub ids of a drafter by the target's name: the owner's own, and Google's."""
    if ancestor.on_hub:
        yield f"{ancestor.name}{SUFFIX}"
    if google := GOOGLES.fullmatch(ancestor.name.rpartition("/")[2]):
        size, trained, quantised = google.groups()
        stem = f"google/gemma-4-E{size}B{(trained or '').lower()}"
        if quantised:
            yield f"{stem}{QAT_DRAFTER}"
        yield f"{stem}{SUFFIX}"


def _objection(candidate: Path | str, target: TargetConfig) -> str | None:
    """Why it cannot be the drafter, in a few words; None if it can."""
    if isinstance(candidate, Path) and not candidate.is_dir():
        return "no such folder"
    try:
        folder = candidate if isinstance(candidate, Path) else download_config(candidate, None)[0]
        if (folder / TUNING).is_file():
            return "made by `tune` for a target of its own"
        if not (folder / CONFIG).is_file():
            return "without a config.json"
        check_pair(target, parse_drafter(read_json(folder / CONFIG), str(folder)))
    except HubError as error:
        return error.reason
    except MismatchError:
        return "for a target of another shape"
    except ConfigError:
        return "no drafter"
    except MtpExportError as error:
        return str(error)
    return None
