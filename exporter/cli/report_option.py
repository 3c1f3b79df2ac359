"""Options for a file whose ending says the format: ``--report`` and its like."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from exporter.cli.text_file import write_text


class Reported(Protocol):
    """What a report is about."""

    def to_json(self) -> dict[str, Any]:
        """Everything."""


ReportedT = TypeVar("ReportedT", bound=Reported)
CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def report_option(
    *endings: str,
    name: str = "--report",
    text: str = "Also write a report; its ending ({}) says which.",
) -> Callable[[CommandT], CommandT]:
    """For a command that writes reports in these formats; ``text`` is the help, with their endings in it."""

    def checked(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
        if value is not None and value.suffix not in endings:
            raise click.BadParameter(
                f"expected a file ending in {', '.join(endings)}, found {value}"
            )
        if value is not None and not value.absolute().parent.is_dir():
            raise click.BadParameter(f"{value}: the folder {value.parent} does not exist")
        return value

    return click.option(
        name,
        type=click.Path(path_type=Path),
        callback=checked,
        help=text.format(", ".join(endings)),
    )


def write_report(
    found: ReportedT, path: Path, renderings: Mapping[str, Callable[[ReportedT], str]]
) -> None:
    """Write a report as JSON, or as the rendering that belongs to the path's ending.

    Raises:
        OutputError: The file cannot be written.
    """
    if path.suffix == ".json":
        content = json.dumps(found.to_json(), indent=2) + "\n"
    else:
        content = renderings[path.suffix](found)
    write_text(path, content, "report")
