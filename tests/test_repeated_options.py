"""An option that takes one value is refused if it is given twice, by every command."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from exporter.cli.main import COMMANDS, LazyGroup, cli
from exporter.cli.strict_command import StrictCommand


def command(name: str) -> click.Command:
    assert isinstance(cli, LazyGroup)
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


def single_options() -> list[tuple[str, click.Option]]:
    """Every option of every command that keeps one value."""
    return [
        (name, option)
        for name in COMMANDS
        for option in command(name).params
        if isinstance(option, click.Option) and not option.multiple and not option.is_flag
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_strict(name: str) -> None:
    assert isinstance(command(name), StrictCommand)


@pytest.mark.parametrize(
    ("name", "option"), single_options(), ids=lambda value: getattr(value, "name", value)
)
def test_repeated(name: str, option: click.Option) -> None:
    """Told before anything is read, even the other arguments."""
    done = CliRunner().invoke(cli, [name, option.opts[0], "1", option.opts[-1], "2"])
    assert done.exit_code == 2, done.output
    assert f"give {option.opts[-1]} once" in done.output


def test_what_may_be_repeated() -> None:
    """Options that collect values, and flags, which say the same twice."""
    done = CliRunner().invoke(cli, ["generate", "none", "-p", "a", "-p", "b", "--json", "--json"])
    assert done.exit_code != 2, done.output
    assert "once" not in done.output
    assert CliRunner().invoke(cli, ["recipes", "--json", "--json"]).exit_code == 0
