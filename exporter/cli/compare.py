"""``mtp-export compare``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.cli.conversations import Asked, asking_options, read_conversations
from exporter.cli.generate_usage import check_sampling, check_usage
from exporter.cli.running_options import Choices, runnable, running_options
from exporter.cli.runtimes import RUNTIMES, STOCK, GenerateRequest
from exporter.cli.strict_command import StrictCommand
from exporter.cli.terminal import fitted, note
from exporter.errors import ParityError

if TYPE_CHECKING:
    from exporter.contract.text import Contract
    from runtime_py.bench.mtp_comparison import MtpComparison, MtpSide
    from runtime_py.reply import RunResult

DEFAULT_ROUNDS = 3

MEANING = (
    "MTP must not change a word, unless two tokens are so nearly equal that rounding decides, which differs "
    "between one token and several at once: `mtp-export verify` tells which it is"
)


@click.command(cls=StrictCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@asking_options
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=DEFAULT_ROUNDS,
    show_default=True,
    help="How often everything is answered, MTP off and on.",
)
@running_options
@click.option("--json", "as_json", is_flag=True, help="Every figure and answer, machine-readable.")
def command(bundle: Path, asked: Asked, rounds: int, choices: Choices, *, as_json: bool) -> None:
    """Answer prompts with BUNDLE, MTP off and on in turn: speed, and whether the text is the same.

    Ends with whether MTP pays on these prompts: give six at least, as your users write them. Exit code 3 if
    a text differs.
    """
    check_usage(asked, choices, "both")
    check_sampling(choices, "both")
    conversations = read_conversations(asked)
    agreed = runnable(bundle, choices, drafting=True)
    modes = tuple(mode for number in range(rounds) for mode in _turn(number))
    request = choices.request(bundle, modes, conversations, asked, None)
    runs = _runs(request, choices.runtime, rounds)
    found = _compared(runs, agreed, choices)
    every = {mode: [run.to_json() for run in runs[mode]] for mode in runs}
    shown = {**found.to_json(), "runs": every}
    text = json.dumps(shown, indent=2) if as_json else fitted(render(found, rounds), sys.stdout)
    click.echo(text)
    require_same_text(found)


def require_same_text(found: MtpComparison) -> None:
    """End with exit code 3 where texts differ.

    Raises:
        ParityError: They do.
    """
    if found.differences:
        raise ParityError(f"{found.differences[0].told()}\n{MEANING}")


def _turn(number: int) -> tuple[str, str]:
    """Modes of a round; the order turns round, so that a machine that gets slower is slower for both."""
    return ("off", "on") if number % 2 == 0 else ("on", "off")


def _runs(request: GenerateRequest, runtime: str, rounds: int) -> dict[str, list[RunResult]]:
    runs: dict[str, list[RunResult]] = {"off": [], "on": []}
    for mode, run in RUNTIMES[runtime](request):
        runs[mode].append(run)
        line = (
            f"round {len(runs[mode])} of {rounds}, MTP {mode}: {run.tokens_per_second:.1f} tokens/s"
        )
        note(line)
    return runs


def _compared(
    runs: dict[str, list[RunResult]], agreed: Contract, choices: Choices
) -> MtpComparison:
    from runtime_py.bench.mtp_comparison import compare_runs
    from runtime_py.same_text import ReplyLimits

    cache = min(choices.max_num_tokens or agreed.cache_length, agreed.cache_length)
    overshoot = agreed.draft_length if choices.runtime == STOCK else 0
    limits = ReplyLimits(choices.max_new_tokens, cache, overshoot)
    drafts = choices.full_draft(agreed.draft_length)
    return compare_runs(runs["off"], runs["on"], limits, drafts, adaptive=choices.adaptive)


def render(found: MtpComparison, rounds: int) -> str:
    """Speeds, texts, then what follows."""
    return "\n".join([*_speeds(found, rounds), "", *_texts(found), *_verdict(found)])


def _speeds(found: MtpComparison, rounds: int) -> Iterator[str]:
    from exporter.report.tables import Table

    many = rounds > 1
    header = (
        "",
        "tokens",
        "tokens/s",
        *(("slowest round", "fastest") if many else ()),
        "first token, ms",
    )
    rows = [_row("MTP off", found.off, many=many), _row("MTP on", found.on, many=many)]
    answers = "answer" if found.answers == 1 else "answers"
    yield f"{found.answers} {answers}, {rounds} round{'s' if many else ''}{', medians' if many else ''}"
    yield from Table(header, tuple(rows)).aligned()
    if found.speed is not None:
        spread = (
            f" ({min(found.by_round):.2f} to {max(found.by_round):.2f} by round)" if many else ""
        )
        yield f"on / off: {found.speed.value:.2f}{spread}"


def _row(name: str, side: MtpSide, *, many: bool) -> tuple[str, ...]:
    spread = (f"{min(side.rates):.1f}", f"{max(side.rates):.1f}") if many else ()
    return (
        name,
        str(side.tokens),
        f"{side.tokens_per_second:.1f}",
        *spread,
        f"{side.time_to_first_token * 1000:.0f}",
    )


def _texts(found: MtpComparison) -> Iterator[str]:
    if found.differences:
        yield f"text: {len(found.differences)} of {found.answers} answers differ"
        yield from (f"  {difference.told()}" for difference in found.differences)
    else:
        yield f"text: identical{f' in all {found.answers} answers' if found.answers > 1 else ''}"
    yield from (f"note: {note}" for note in found.notes)


def _verdict(found: MtpComparison) -> Iterator[str]:
    from runtime_py.bench.verdict_text import told

    if found.verdict is not None:
        yield f"verdict: {told(found.verdict)}"
