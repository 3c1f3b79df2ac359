"""Options that commands which measure bundles on a text have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from exporter.cli.option_types import THREADS

if TYPE_CHECKING:
    from exporter.compare.passages import PassagePlan

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

COUNTS = (
    ("--passages", 4, 32, "Passages that the text is cut into."),
    ("--passage-length", 16, 192, "Tokens in a passage."),
    ("--prompt-tokens", 4, 64, "Tokens at the start of a passage that are given as a prompt."),
    ("--new-tokens", 8, 64, "Tokens generated after each prompt."),
)
"""Options with their least and usual values."""


def passage_plan(passages: int, length: int, prompt: int, new: int) -> PassagePlan:
    """How the text is used.

    Raises:
        click.UsageError: The prompts are longer than the passages they are cut from.
    """
    from exporter.compare.passages import PassagePlan

    if prompt > length:
        raise click.UsageError(f"--prompt-tokens {prompt} is more than --passage-length {length}")
    return PassagePlan(passages, length, prompt, new)


def measuring_options(function: CommandT) -> CommandT:
    """The text to measure on and one for recipes that need it, how much of it, and on how many threads."""
    counts = (
        click.option(
            name, type=click.IntRange(min=least), default=default, show_default=True, help=text
        )
        for name, least, default, text in COUNTS
    )
    options = (
        click.option(
            "--text",
            "text_file",
            type=click.Path(path_type=Path),
            required=True,
            help="Text that the model was not trained on, of the kind it is for.",
        ),
        click.option(
            "--calibration",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="FILE.txt",
            help="Text for gptq, as in export; not the one that is measured on.",
        ),
        *counts,
        click.option(
            "--threads",
            type=THREADS,
            default=os.cpu_count() or 1,
            help="CPU threads.  [default: the cores there are]",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@contextmanager
def work_folder(keep: Path | None) -> Iterator[Path]:
    """Where bundles are made: a folder to keep, or one that is removed afterwards.

    Raises:
        OutputError: The folder to keep cannot be made.
    """
    import tempfile

    from exporter.errors import OutputError

    if keep is None:
        with tempfile.TemporaryDirectory(prefix="mtp-export-") as name:
            yield Path(name)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{keep}: the folder cannot be made: {error.strerror}") from error
    yield keep
