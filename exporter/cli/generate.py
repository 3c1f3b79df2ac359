"""``mtp-export generate``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.cli.conversations import Asked, asking_options, headings, read_conversations
from exporter.cli.generate_output import AnswerPrinter, advice, measurements, show_calls
from exporter.cli.generate_usage import check_sampling, check_usage
from exporter.cli.running_options import MTP, Choices, runnable, running_options
from exporter.cli.runtimes import RUNTIMES
from exporter.cli.strict_command import StrictCommand
from exporter.cli.terminal import fitted, note

if TYPE_CHECKING:
    from exporter.contract.text import Contract
    from runtime_py.bench.verdict import MtpVerdict
    from runtime_py.reply import RunResult


@click.command(cls=StrictCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@asking_options
@MTP
@running_options
@click.option("--json", "as_json", is_flag=True, help="Text and measurements, machine-readable.")
def command(
    bundle: Path, asked: Asked, mtp: str | None, choices: Choices, *, as_json: bool
) -> None:
    """Answer prompts with BUNDLE, greedily unless told otherwise.

    Answers go to stdout, nothing else. Of several prompts, or of a file of them, each stands in front of its
    answer in a line of its own, `==> PROMPT <==`.
    """
    check_usage(asked, choices, mtp)
    conversations = read_conversations(asked)
    if mtp is None and choices.about_drafts:
        mtp = "on"
    agreed = runnable(bundle, choices, drafting=mtp == "on")
    mode = mtp or ("on" if agreed.has_drafter else "off")
    check_sampling(choices, mode)
    echoed = headings(conversations) if len(conversations) > 1 or asked.prompt_file else ()
    shown = None if as_json else AnswerPrinter(echoed)
    request = choices.request(bundle, (mode,), conversations, asked, shown)
    ((_, run),) = RUNTIMES[choices.runtime](request)
    verdict = _verdict(run, agreed, choices) if mode == "on" else None
    if as_json:
        click.echo(json.dumps(_json(mode, run, verdict), indent=2))
        return
    show_calls(run)
    note(f"{measurements(run)}, MTP {mode}")
    if (told := advice(run, verdict)) is not None:
        click.echo(fitted(told, sys.stderr), err=True)


def _verdict(run: RunResult, agreed: Contract, choices: Choices) -> MtpVerdict | None:
    from runtime_py.bench.mtp_comparison import drafts_verdict

    return drafts_verdict(run, choices.full_draft(agreed.draft_length), adaptive=choices.adaptive)


def _json(mode: str, run: RunResult, verdict: MtpVerdict | None) -> dict[str, object]:
    from runtime_py.bench.verdict_text import as_json

    return {mode: run.to_json(), **({"verdict": as_json(verdict)} if verdict else {})}
