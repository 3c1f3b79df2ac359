"""``mtp-export doctor``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from exporter.cli.strict_command import StrictCommand

if TYPE_CHECKING:
    from exporter.installation import Finding


@click.command(cls=StrictCommand)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable: a list of findings.")
def command(as_json: bool) -> None:
    """Say what works on this machine, and which command installs what is missing."""
    from exporter.installation import examine
    from exporter.verify.sides.engine import try_engine

    findings = [*examine(), try_engine()]
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
        return
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        click.echo(f"{_mark(finding)}  {finding.what:{width}}  {finding.found}")
    wanted = [finding.remedy for finding in findings if finding.remedy]
    click.echo("\nall is well" if all(finding.works for finding in findings) else "")
    for remedy in dict.fromkeys(wanted):
        click.echo(f"to fix that: {remedy}")


def _mark(finding: Finding) -> str:
    return "ok    " if finding.works else "not ok"
