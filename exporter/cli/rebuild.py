"""``mtp-export rebuild``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exporter.cli.strict_command import StrictCommand

if TYPE_CHECKING:
    from exporter.checkpoints.checkpoint import Checkpoint


@click.command(cls=StrictCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The bundle to write."
)
@click.option(
    "--target", help="The target's checkpoint.  [default: the hub's, at the commit in the manifest]"
)
@click.option("--drafter", help="The drafter's checkpoint.  [default: likewise]")
@click.option("--lora", metavar="ADAPTER", help="The LoRA adapter that was merged into the target.")
@click.option(
    "--drafter-lora", metavar="ADAPTER", help="The LoRA adapter that was merged into the drafter."
)
@click.option(
    "--calibration",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.txt",
    help="The text that was given to export.",
)
@click.option(
    "--chat-template",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The chat template that was given to export.",
)
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
def command(
    bundle: Path,
    output: Path,
    target: str | None,
    drafter: str | None,
    lora: str | None,
    drafter_lora: str | None,
    calibration: Path | None,
    chat_template: Path | None,
    force: bool,
) -> None:
    """Make BUNDLE again from its sources, as its manifest says, and compare the bytes.

    Exit code 3 says that the bytes differ; the new bundle is kept for comparison.
    """
    from exporter.cli.progress import TerminalReporter
    from exporter.errors import ParityError, listed
    from exporter.extras import has_engine
    from exporter.files.output import check_destination
    from exporter.verify.rebuild import Inputs, rebuild, stored_manifest
    from exporter.verify.sides.engine import render_in_probe

    check_destination(output, force=force)
    manifest = stored_manifest(bundle)
    if output.exists() and output.samefile(bundle):
        raise click.UsageError("the output is BUNDLE itself, with which it is to be compared")
    _check_files(manifest, calibration, chat_template)
    of_target, of_drafter = (manifest["sources"].get(role) for role in ("target", "drafter"))
    if of_drafter is None and (drafter or drafter_lora):
        raise click.UsageError("the bundle was made without a drafter: leave --drafter out")
    inputs = Inputs(
        _opened("target", target, "--lora", lora, of_target),
        _opened("drafter", drafter, "--drafter-lora", drafter_lora, of_drafter)
        if of_drafter
        else None,
        calibration,
        chat_template,
    )
    render = render_in_probe if has_engine() else None
    differing = rebuild(
        bundle, inputs, output, force=force, reporter=TerminalReporter(), render=render
    )
    if differing:
        raise ParityError(f"{output} was made and differs from {bundle}: {listed(differing)}")
    click.echo(f"{output}: the same bytes as {bundle}")


def _check_files(
    manifest: Mapping[str, Any], calibration: Path | None, chat_template: Path | None
) -> None:
    """Check that what was given to export beside the checkpoints is given again."""
    template = manifest["options"].get("chat_template") or {}
    if template.get("origin") == "given" and chat_template is None:
        raise click.UsageError(
            "the bundle was made with a chat template of its own: give --chat-template FILE"
        )
    if (text := manifest["recipe"].get("calibration")) is not None and calibration is None:
        digest = text["sha256"]
        raise click.UsageError(
            f"the bundle was made with a calibration text (SHA-256 {digest}): give --calibration FILE.txt"
        )


def _opened(
    role: str, given: str | None, option: str, adapter: str | None, recorded: Mapping[str, Any]
) -> Checkpoint:
    """A checkpoint as it was given, or else from the hub, where the manifest says."""
    from exporter.checkpoints.checkpoint import resolve
    from exporter.checkpoints.hub import download

    name, revision, merged = given, None, recorded["adapter"]
    if name is None:
        name, revision = recorded["source"], recorded["revision"]
        if revision is None:
            raise click.UsageError(
                f"the bundle's {role} was a folder called {name}: give it by --{role}"
            )
    if adapter is None and merged is not None:
        adapter = merged["source"]
        if merged["revision"] is None:
            raise click.UsageError(
                f"the bundle's {role} was made with an adapter in the folder {adapter}: give it by {option}"
            )
    return resolve(name, revision, download, adapter)
