"""What all commands have in common: options that are given once, ``--quiet`` and ``--verbose``.

Of two values for one option click silently takes the last.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from exporter.cli.terminal import colours, speaking

QUIET, VERBOSE = "mtp_export.quiet", "mtp_export.verbose"
"""Keys of a context's ``meta``."""


def _flag(names: tuple[str, str], key: str, text: str) -> click.Option:
    def keep(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        ctx.meta[key] = value

    return click.Option(names, is_flag=True, expose_value=False, callback=keep, help=text)


HOW_MUCH = (
    _flag(("-q", "--quiet"), QUIET, "Nothing on stderr but errors."),
    _flag(("-v", "--verbose"), VERBOSE, "Logs on stderr, those of native libraries among them."),
)


class StrictCommand(click.Command):
    """Refuses an option that takes one value and was given several times; settles what stderr gets."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters, those of every command, and help."""
        *own, last = super().get_params(ctx)
        return [*own, *HOW_MUCH, last]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line.

        Raises:
            click.UsageError: Naming every option that is repeated.
        """
        if not ctx.resilient_parsing:
            _, _, given = self.make_parser(ctx).parse_args(args=list(args))
            repeated = [option for option, times in Counter(given).items() if times > 1]
            if names := [option.opts[-1] for option in repeated if _has_one_value(option)]:
                ctx.fail(f"give {', '.join(names)} once: of several values only one can be used")
        rest = super().parse_args(ctx, args)
        if ctx.meta.get(QUIET) and ctx.meta.get(VERBOSE):
            ctx.fail("give --quiet or --verbose, not both")
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; stderr gets as much as was asked for."""
        if not colours():
            ctx.color = False
        with speaking(quiet=ctx.meta[QUIET], verbose=ctx.meta[VERBOSE]):
            return super().invoke(ctx)


def _has_one_value(parameter: click.Parameter) -> bool:
    """Whether a value that is given twice replaces the first; a plain flag says the same again."""
    if not isinstance(parameter, click.Option) or parameter.multiple or parameter.count:
        return False
    return not parameter.is_flag or bool(parameter.secondary_opts)
