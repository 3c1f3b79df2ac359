"""What `export` works on and what it writes, where the user leaves that open; each is told in a line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter.checkpoints.drafter_search import drafter_of
from exporter.checkpoints.hub import download_config
from exporter.checkpoints.named_target import NamedTarget, locate_target
from exporter.checkpoints.source_folder import last_name
from exporter.formats import Format, format_of
from exporter.options import ExportOptions
from exporter.path_kind import MANIFEST

UNFIT = re.compile(r"[^\w.+-]+")
"""What does not belong in the name of a file."""


@dataclass(frozen=True)
class Asked:
    """What the user named; None where that is left open."""

    target: str
    drafter: str | None
    output: str | None
    lora: str | None
    revision: str | None
    no_drafter: bool
    drafter_revision: str | None
    drafter_lora: str | None


@dataclass(frozen=True)
class Chosen:
    """What will be read and written."""

    named: NamedTarget
    drafter: str | None
    """None for a bundle without one."""
    named_drafter: NamedTarget | None
    output: Path
    told: tuple[str, ...]
    """A line for everything that was not given."""


def choose(asked: Asked, options: ExportOptions) -> Chosen:
    """Check the output, then find target and drafter; of the hub only configs and model cards are fetched.

    Raises:
        OutputError: The output cannot be made or replaced.
        CheckpointError: Target or drafter are not found.
        ConfigError: The target cannot be exported.
    """
    form = format_of(options.format)
    stem = f"{last_name(asked.lora or asked.target)}-{options.recipe.name}"
    output = choose_output(asked.output, stem, form)
    form.check_destination(output, force=options.force)
    named = locate_target(asked.target, asked.revision, download_config, asked.lora)
    drafter = asked.drafter
    if drafter is None and not asked.no_drafter:
        drafter = drafter_of(named)
    told = tuple(_told(asked, named, drafter, output))
    if drafter is None:
        return Chosen(named, None, None, output, told)
    more = asked.drafter_revision, download_config, asked.drafter_lora
    return Chosen(named, drafter, locate_target(drafter, *more), output, told)


def choose_output(given: str | None, stem: str, form: Format) -> Path:
    """The output.

    Args:
        given: As it was said: a name, a folder for the output to be in, or None for the current one. A
            folder that is an export to ONNX stands for itself.
        stem: Of a name that is made here.
        form: The format of the output.
    """
    made = UNFIT.sub("-", stem) + form.SUFFIX
    if given is None:
        return Path(made)
    output = Path(given)
    slash = given.endswith(("/", os.sep))
    if slash or (output.is_dir() and not (output / MANIFEST).is_file()):
        return output / made
    return output


def _told(asked: Asked, named: NamedTarget, drafter: str | None, output: Path) -> Iterator[str]:
    if named.inferred:
        yield (
            f"target: {named.target.place} (inferred: {asked.target} is an adapter of it; `export TARGET "
            f"--lora {asked.target}` takes another)"
        )
    if drafter != asked.drafter:
        yield f"drafter: {drafter} (inferred; name another behind TARGET, or give --no-drafter)"
    if str(output) != asked.output and output != Path(asked.output or ""):
        yield f"output: {output} (inferred; -o names another)"
