"""docs/commands.md, made from what every command says of itself.

    python scripts/command_pages.py

writes it anew after an option has changed; tests/test_documents.py fails until then.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from exporter.cli.main import COMMANDS, EXIT_CODES, cli

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"
COLUMNS = 96

HEAD = """\
# Commands

What `mtp-export COMMAND --help` says, made by `scripts/command_pages.py`: change the command, then run that.

| command | |
|---|---|
"""


def page() -> str:
    """The whole document."""
    rows = "".join(f"| [`{name}`](#{name}) | {summary} |\n" for name, summary in COMMANDS.items())
    codes = inspect.cleandoc(EXIT_CODES.replace("\b", ""))
    return f"{HEAD}{rows}\n```\n{codes}\n```\n" + "".join(_sections())


def _sections() -> Iterator[str]:
    group = click.Context(cli, info_name="mtp-export", **cli.context_settings)
    for name in COMMANDS:
        command = cli.get_command(group, name)
        assert command is not None
        context = click.Context(command, group, info_name=name, terminal_width=COLUMNS)
        yield f"\n## {name}\n\n```\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
