"""The ``--report`` option: a file whose ending says the format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def report_option(*endings: str) -> Callable[[CommandT], CommandT]:
    """For a command that writes reports in these formats."""

    def checked(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
        if value is not None and value.suffix not in endings:
            raise click.BadParameter(
                f"expected a file ending in {', '.join(endings)}, found {value}"
            )
        if value is not None and not value.absolute().parent.is_dir():
            raise click.BadParameter(f"{value}: the folder {value.parent} does not exist")
        return value

    return click.option(
        "--report",
        type=click.Path(path_type=Path),
        callback=checked,
        help=f"Also write a report; its ending ({', '.join(endings)}) says which.",
    )
