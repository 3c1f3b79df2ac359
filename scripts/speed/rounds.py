"""Sides that take turns: the rounds they ran, and a table of medians and of ratios taken within a round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

import click

from runtime_py.bench.memory import Memory
from speed.clocks import load

MEGABYTES = 1e-6

Figures = dict[str, float]
Rounds = dict[str, list[Figures]]
"""Of each side, what each round gave."""

Side = Callable[[], tuple[Sequence[str], Figures]]
"""Runs one side once: its texts and figures."""


def take_turns(sides: Mapping[str, Side], rounds: int, *, equal_texts: bool = True) -> Rounds:
    """Run every side in each round; their order turns round after each.

    Raises:
        click.ClickException: The sides of a round give different texts, and ``equal_texts``.
    """
    found: Rounds = {side: [] for side in sides}
    for number in range(rounds):
        texts = set()
        for side in list(sides)[:: 1 if number % 2 == 0 else -1]:
            said, figures = sides[side]()
            found[side].append(figures)
            texts.add(tuple(said))
        if len(texts) > 1 and equal_texts:
            raise click.ClickException(f"the two sides give different texts: {texts}")
        click.echo(f"round {number + 1} of {rounds}, {load()}", err=True)
    return found


def memory_figures(memory: Memory) -> Figures:
    """What :func:`children_watched` saw."""
    return {
        "peak resident memory, MB": memory.resident * MEGABYTES,
        "largest anonymous memory, MB": memory.anonymous * MEGABYTES,
    }


def table(found: Rounds, below: str) -> str:
    """Medians of the sides and, of two, of the other's ratio to ``below`` with its range, as Markdown."""
    compared = ["ratio", "range"] if len(found) > 1 else []
    lines = [_row("", [*found, *compared]), _row("---", ["---"] * (len(found) + len(compared)))]
    for name in next(iter(found.values()))[0]:
        values = {side: [figures[name] for figures in rounds] for side, rounds in found.items()}
        cells = [f"{median(of_side):.4g}" for of_side in values.values()]
        if compared:
            (above,) = values.keys() - {below}
            ratios = [a / b for a, b in zip(values[above], values[below], strict=True)]
            cells += [f"{median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"]
        lines.append(_row(name, cells))
    return "\n".join(lines)


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([name, *cells])} |"
