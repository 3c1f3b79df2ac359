"""What a long context costs, before it is filled and after: time of calls, of prompts, and memory.

    python scripts/measure_long_context.py calls before.litertlm after.litertlm --filled 500 --filled 30000
    python scripts/measure_long_context.py prompt before.litertlm after.litertlm --tokens 4000
    python scripts/measure_long_context.py memory before.litertlm after.litertlm

Every bundle is opened with every number of slots (``--slots``), and these sides take turns: call by call in
one process, or run by run of the stock engine, each in a process of its own. Ratios are to the first side.
CPU time does not count what others do on the machine; see ``speed.clocks``. `make_planted_pair.py` makes
pairs of E2B's and E4B's size to export.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import click
from speed.clocks import alternate, load
from speed.filled import SizedSection

BEGUN, WORD = "say", " t494"
"""What prompts for a planted pair are made of; the word is one token, and its answer is known."""
MEGA = 1_000_000

Side = tuple[Path, int]
"""A bundle and the number of slots that it is opened with."""


@click.group()
def main() -> None:
    """Compare bundles, each opened with several numbers of slots."""


def compared(command: Callable[..., None]) -> Callable[..., None]:
    """The arguments that all commands take."""
    file = click.Path(path_type=Path, exists=True, dir_okay=False)
    for add in (
        click.option("--threads", default=1, show_default=True),
        click.option("--slots", multiple=True, type=int, default=(4096, 32000), show_default=True),
        click.argument("files", nargs=-1, required=True, type=file),
    ):
        command = add(command)
    return command


@main.command()
@compared
@click.option("--signature", default="decode", show_default=True)
@click.option("--filled", multiple=True, type=int, default=(500,), show_default=True)
@click.option(
    "--calls",
    "count",
    type=click.IntRange(2),
    default=15,
    show_default=True,
    help="Of each, counted.",
)
def calls(
    files: tuple[Path, ...],
    slots: tuple[int, ...],
    threads: int,
    signature: str,
    filled: tuple[int, ...],
    count: int,
) -> None:
    """CPU time of a call of SIGNATURE, by how many slots are filled."""
    opened = {
        f"{file.stem} {number}": (sized, sized.opened(threads))
        for file in files
        for number in slots
        for sized in [SizedSection.find(file, signature, number)]
    }
    for seen in filled:
        prepared = {name: sized.filled(call, seen) for name, (sized, call) in opened.items()}
        sides = {name: call for name, call in prepared.items() if call is not None}
        if not sides:
            raise click.UsageError(f"{seen} slots cannot be filled by {signature} in any bundle")
        costs = alternate(sides, count)
        first = next(iter(costs.values()))
        for name, cost in costs.items():
            line = f"{cost.cpu * 1000:9.2f} ms {cost.cpu / first.cpu:7.3f}"
            click.echo(f"{signature}, {seen:6} filled {line}  {name}")
    click.echo(load())


@main.command()
@compared
@click.option("--tokens", default=4000, show_default=True, help="Of the prompt, about.")
@click.option("--runs", default=3, show_default=True, help="Of each side.")
def prompt(
    files: tuple[Path, ...], slots: tuple[int, ...], threads: int, tokens: int, runs: int
) -> None:
    """CPU time and wall time until the stock engine's first token after a long prompt."""
    text = BEGUN + WORD * (tokens + 1)
    asked = {"prompt": text, "mtp": False, "new": 2, "threads": threads, "cache": ":nocache"}
    found = _in_turn([(file, number) for file in files for number in slots], asked, runs)
    first = None
    for (file, number), results in found.items():
        cpu, wall = (median(each[key] for each in results) for key in ("first_cpu", "first_wall"))
        first = first or (cpu, wall)
        click.echo(
            f"{results[0]['prompt_tokens']} tokens {cpu:7.2f} s of CPU {cpu / first[0]:6.3f} "
            f"{wall:7.2f} s {wall / first[1]:6.3f}  {file.stem} {number}"
        )
    click.echo(load())


@main.command()
@compared
@click.option("--mtp", type=click.Choice(["off", "on", "both"]), default="both", show_default=True)
@click.option("--new", default=50, show_default=True, help="Tokens of the reply, at most.")
@click.option("--tokens", default=0, show_default=True, help="Of the prompt, about.")
@click.option("--runs", default=1, show_default=True, help="Of each side; the largest peak counts.")
@click.option(
    "--cache", default=":nocache", help="Folder of packed weights; without one they are in memory."
)
def memory(
    files: tuple[Path, ...],
    slots: tuple[int, ...],
    threads: int,
    mtp: str,
    new: int,
    tokens: int,
    runs: int,
    cache: str,
) -> None:
    """Peak resident memory of the stock engine in a short conversation, in MB, and tokens/s."""
    sides = [(file, number) for file in files for number in slots]
    for drafting in {"off": [False], "on": [True], "both": [False, True]}[mtp]:
        text = BEGUN + WORD * (tokens + 1)
        asked = {"prompt": text, "mtp": drafting, "new": new, "threads": threads, "cache": cache}
        first = None
        for (file, number), results in _in_turn(sides, asked, runs).items():
            peak = max(each["peak"] for each in results) / MEGA
            speed = median(each["tokens_per_second"] for each in results)
            first = first or peak
            click.echo(
                f"MTP {'on ' if drafting else 'off'} {peak:8.0f} MB {peak - first:+8.0f} "
                f"{speed:6.1f} tokens/s  {file.stem} {number}"
            )
    click.echo(load())


def _in_turn(sides: list[Side], asked: dict[str, Any], runs: int) -> dict[Side, list[Any]]:
    """Results of every side; sides take turns."""
    found: dict[Side, list[Any]] = {side: [] for side in sides}
    for side, result in _runs(sides * runs, asked):
        found[side].append(result)
    return found


def _runs(sides: list[Side], asked: dict[str, Any]) -> Iterator[tuple[Side, Any]]:
    for file, slots in sides:
        request = {**asked, "bundle": str(file.resolve()), "slots": slots}
        command, folder = [sys.executable, "-m", "speed.engine_run"], Path(__file__).parent
        done = subprocess.run(
            command, cwd=folder, input=json.dumps(request), capture_output=True, text=True
        )
        if done.returncode:
            raise click.ClickException(f"{file} with {slots} slots: {done.stderr[-1000:]}")
        yield (file, slots), json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
