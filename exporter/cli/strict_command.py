"""A command whose options are given once: of two values for one option click silently takes the last."""

from __future__ import annotations

from collections import Counter

import click


class StrictCommand(click.Command):
    """Refuses an option that takes one value and was given several times."""

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
        return super().parse_args(ctx, args)


def _has_one_value(parameter: click.Parameter) -> bool:
    """Whether a value that is given twice replaces the first; a plain flag says the same again."""
    if not isinstance(parameter, click.Option) or parameter.multiple or parameter.count:
        return False
    return not parameter.is_flag or bool(parameter.secondary_opts)
