"""``mtp-export inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from exporter.cli.strict_command import StrictCommand
from exporter.path_kind import Kind, kind_of


@click.command(cls=StrictCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Everything, machine-readable.")
@click.option("--check", is_flag=True, help="Read the weights, too, and compare their checksums.")
def command(bundle: Path, as_json: bool, check: bool) -> None:
    """Show what is inside BUNDLE, a file or an ONNX folder, and check that it keeps the contract.

    Checksums are compared, those of weights with --check. Exit code 1 if something is damaged or the contract
    is broken.
    """
    if kind_of(bundle).kind is Kind.ONNX_EXPORT:
        from exporter.cli.inspect_onnx import show
    else:
        from exporter.cli.inspect_bundle import show
    show(bundle, as_json=as_json, check=check)
