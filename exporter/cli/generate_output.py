"""What ``generate`` shows of answers: their text as it comes, and what they took."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from runtime_py.bench.verdict import MtpVerdict
    from runtime_py.reply import RunResult

POOR = 0.25
"""Of drafts: with fewer accepted, MTP may well cost more than it gains."""


class AnswerPrinter:
    """Prints text to stdout as it comes; if there are headings, each answer behind ``==> HEADING <==``."""

    def __init__(self, headings: Sequence[str] = ()) -> None:
        self._headings, self._answered, self._begun = headings, 0, False

    def __call__(self, piece: str | None) -> None:
        """A piece of the answer, or None for its end."""
        if not self._begun:
            self._begun = True
            self._head()
        if piece is not None:
            click.echo(piece, nl=False)
            return
        click.echo()
        self._answered, self._begun = self._answered + 1, False

    def _head(self) -> None:
        if self._headings:
            line = f"==> {self._headings[self._answered]} <=="
            click.echo(("\n" if self._answered else "") + click.style(line, bold=True))


def show_calls(run: RunResult) -> None:
    """Tool calls, a line of JSON for each answer that has any; and which answers were only thought."""
    for reply in chain(*run.replies):
        if reply.thought and not reply.text and not reply.tool_calls:
            click.echo("the answer was cut off in a thought; --json shows it", err=True)
        if reply.tool_calls:
            click.echo(json.dumps({"tool_calls": reply.tool_calls}))


def measurements(run: RunResult) -> str:
    """What a run took, in a line."""
    first = run.replies[0][0].time_to_first_token
    text = (
        f"{run.decode_tokens} tokens, {run.tokens_per_second:.1f} tokens/s, first after "
        f"{first * 1000:.0f} ms"
    )
    if run.success_rate is not None:
        text += f", {run.success_rate:.0%} of drafts accepted"
    if (rate := run.lookup_acceptance.rate) is not None:
        drafted = sum(run.lookup_acceptance.drafted)
        text += f", {rate:.0%} of {drafted} looked up"
    return text


def advice(run: RunResult, verdict: MtpVerdict | None) -> str | None:
    """What to do where few drafts are accepted; None where that is not so, or not known."""
    from runtime_py.bench.verdict import Outcome
    from runtime_py.bench.verdict_text import told

    if verdict is not None and verdict.outcome is Outcome.LOSES:
        return f"verdict: {told(verdict)}"
    if run.success_rate is not None and run.success_rate < POOR:
        return "few drafts are accepted: `mtp-export compare BUNDLE --prompts FILE` says whether MTP pays"
    return None
