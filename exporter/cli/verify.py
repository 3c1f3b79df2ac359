"""``mtp-export verify``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from exporter.cli.option_types import THREADS
from exporter.cli.report_option import report_option, write_report
from exporter.cli.strict_command import StrictCommand
from exporter.contract.names import Accelerator

DEFAULT_NEW_TOKENS = 64


@click.command(cls=StrictCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--target", help="The checkpoint BUNDLE was made from: a folder or a hub id.")
@click.option("--drafter", help="The drafter's checkpoint; needs --target.")
@click.option(
    "--prompts",
    "prompt_file",
    type=click.Path(path_type=Path),
    help="Prompts, one a line.  [default: a few built-in sentences]",
)
@click.option(
    "--max-new-tokens",
    type=click.IntRange(min=1),
    default=DEFAULT_NEW_TOKENS,
    show_default=True,
    help="Length of each answer.",
)
@click.option(
    "--onnx",
    type=click.Path(path_type=Path),
    help="The same export made with --format onnx; ONNX Runtime is compared with LiteRT.",
)
@click.option(
    "--accelerator",
    type=click.Choice([accelerator.value for accelerator in Accelerator]),
    default=Accelerator.CPU.value,
    show_default=True,
    help="Where the graphs run, in float32; see docs/gpu.md.",
)
@click.option(
    "--threads",
    type=THREADS,
    default=2,
    show_default=True,
    help="CPU threads of torch, the reference runtime and the stock engine.",
)
@report_option(".json", ".html", ".md")
@click.option("--lora", metavar="ADAPTER", help="The LoRA adapter that was merged into the target.")
@click.option(
    "--drafter-lora", metavar="ADAPTER", help="The LoRA adapter that was merged into the drafter."
)
@click.option("--json", "as_json", is_flag=True, help="The JSON report on stdout.")
@click.option("--revision", help="Branch, tag or commit of the target on the hub.")
@click.option("--drafter-revision", help="Branch, tag or commit of the drafter on the hub.")
def command(
    bundle: Path,
    target: str | None,
    drafter: str | None,
    prompt_file: Path | None,
    onnx: Path | None,
    max_new_tokens: int,
    accelerator: str,
    threads: int,
    report: Path | None,
    lora: str | None,
    drafter_lora: str | None,
    as_json: bool,
    revision: str | None,
    drafter_revision: str | None,
) -> None:
    """Prove BUNDLE right, rung by rung, or say where it is wrong.

    With --target (and --drafter) it is compared with the checkpoints it was made from; without, only
    with itself and with the stock engine. Exit code 3 if a rung is outside its tolerance.
    """
    if drafter is not None and target is None:
        raise click.UsageError("--drafter needs --target")
    if (lora and not target) or (drafter_lora and not drafter):
        raise click.UsageError("--lora needs --target, and --drafter-lora needs --drafter")
    from exporter.extras import require_onnx, require_runtime, require_torch

    require_runtime()
    if target is not None:
        require_torch()
    if onnx is not None:
        require_onnx()
    from exporter.checkpoints.checkpoint import resolve
    from exporter.checkpoints.hub import download
    from exporter.cli.progress import TerminalReporter
    from exporter.verify.evidence import VerifyRequest
    from exporter.verify.ladder import climb
    from exporter.verify.report import require_parity
    from exporter.verify.report_html import render_html
    from exporter.verify.report_markdown import render_markdown, render_text
    from exporter.verify.texts import read_prompts

    request = VerifyRequest(
        bundle,
        resolve(target, revision, download, lora) if target else None,
        resolve(drafter, drafter_revision, download, drafter_lora) if drafter else None,
        read_prompts(prompt_file),
        Accelerator(accelerator),
        threads,
        max_new_tokens,
        onnx,
    )
    found = climb(request, TerminalReporter())
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else render_text(found))
    if report is not None:
        write_report(found, report, {".html": render_html, ".md": render_markdown})
    require_parity(found)
