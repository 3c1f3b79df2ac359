"""Feed every reader of untrusted files inputs with something wrong in them, and see that it reads or refuses.

    python scripts/fuzz.py run                          # every target, 2,000 inputs of each
    python scripts/fuzz.py run chat qat --count 100000 --seed 7 --keep
    python scripts/fuzz.py replay                       # tests/corpus again; the gate does that, too
    python scripts/fuzz.py kills --mode export-fresh    # stops a command at random moments

An input is a finding if it is neither read nor refused by an error of ours, takes more than 10 seconds or a
gigabyte of memory (pictures 60 and 2), or ends the process; one of each kind is shown. Input N of a seed is
always the same one.
Exit code 3 says that there are findings.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from random import Random

import click

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fuzzing.corpus import keep, kept
from fuzzing.kills import MODES, kill
from fuzzing.places import scratch_folder
from fuzzing.running import Result, fuzz, place_of
from fuzzing.target import Target, check_sound, outcome
from fuzzing.targets import TARGETS

FOUND = 3


@click.group()
def main() -> None:
    """See the module's docstring."""


@main.command()
@click.argument("names", nargs=-1, metavar="[TARGET]...", type=click.Choice(list(TARGETS)))
@click.option("--seed", default=0, show_default=True)
@click.option("--first", default=0, show_default=True, help="Number of the first input.")
@click.option("--count", default=2000, show_default=True, help="Inputs of each target.")
@click.option("--seconds", default=1e9, help="Of each target, at most.")
@click.option("--keep", "keeps", is_flag=True, help="Add an input of each finding to tests/corpus.")
def run(
    names: tuple[str, ...], seed: int, first: int, count: int, seconds: float, keeps: bool
) -> None:
    """Mutate sound inputs of TARGETs (all of them, by default)."""
    found = False
    for name in names or TARGETS:
        folder = scratch_folder()
        try:
            target, result = TARGETS[name](folder), Result()
            check_sound(target)
            for result in fuzz(target, seed, first=first, count=count, seconds=seconds):
                click.echo(f"\r{name}: {result.inputs:,}", nl=False, err=True)
            click.echo("", err=True)
            report(target, result, keeps)
            found |= bool(result.findings)
        finally:
            shutil.rmtree(folder)
    sys.exit(FOUND if found else 0)


def report(target: Target, result: Result, keeps: bool) -> None:
    """Print what came of a target's inputs."""
    rate = result.inputs / max(result.seconds, 1e-9)
    counts = ", ".join(f"{what} {count:,}" for what, count in result.outcomes.most_common())
    click.echo(f"{target.name}: {result.inputs:,} inputs, {rate:,.0f}/s: {counts}")
    for finding in result.findings.values():
        click.echo(f"  {finding.what} (input {finding.number}, {finding.case.part})")
        if keeps and (path := keep(target.name, finding.case)) is not None:
            click.echo(f"    kept as {path}")


@main.command()
def replay() -> None:
    """Read the inputs of tests/corpus again."""
    failures = 0
    for name, make in TARGETS.items():
        folder = scratch_folder()
        try:
            target = make(folder)
            for case in kept(name):
                try:
                    click.echo(f"{name}: {case.part}: {outcome(target, case)}")
                except Exception as error:  # what is no refusal is what is looked for
                    failures += 1
                    click.echo(f"{name}: {case.part}: {place_of(error)}: {error}")
        finally:
            shutil.rmtree(folder)
    sys.exit(FOUND if failures else 0)


@main.command()
@click.option("--mode", type=click.Choice(list(MODES)), required=True)
@click.option(
    "--count", default=50, show_default=True, help="Valid kills: the signal met a running command."
)
@click.option("--seed", default=0, show_default=True, help="Of moments and signals.")
@click.option("--finish-every", default=5, show_default=True, help="Kills until a run may end.")
@click.option("--whole", type=float, help="Seconds of a run.  [default: they are measured]")
def kills(mode: str, count: int, seed: int, finish_every: int, whole: float | None) -> None:
    """Stop a command with SIGKILL, SIGTERM or SIGINT at random moments."""
    folder, found = scratch_folder(), None
    try:
        tries = kill(MODES[mode], folder, Random(seed), count, finish_every, whole)  # noqa: S311
        for found in tries:
            click.echo(f"\r{mode}: {found.valid.total()} of {found.tried}", nl=False, err=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert found is not None
    click.echo("", err=True)
    counts = ", ".join(f"{name} {number}" for name, number in sorted(found.valid.items()))
    click.echo(
        f"{mode}: {found.valid.total()} valid kills of {found.tried} ({counts}) in runs of "
        f"{found.whole:.1f} s, {found.finished} runs to the end, {len(found.findings)} findings"
    )
    for finding in found.findings:
        click.echo(f"  {finding}")
    sys.exit(FOUND if found.findings else 0)


if __name__ == "__main__":
    main()
