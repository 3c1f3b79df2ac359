"""``mtp-export card``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exporter.cli.strict_command import StrictCommand
from exporter.errors import BundleError, CheckpointError

if TYPE_CHECKING:
    from exporter.bundle.inspection import Inspection
    from exporter.cli.card_text import Licence

VERIFY_KEYS = frozenset({"tools", "headline", "rungs", "acceptance", "nbytes"})
BENCH_KEYS = frozenset(
    {"machine", "threads", "prompts", "max_new_tokens", "rounds", "sides", "verdict"}
)


HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def parse_hub_id(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """``google/gemma-4-E2B-it``."""
    if value is not None and HUB_ID.fullmatch(value) is None:
        raise click.BadParameter(f"expected a hub id (owner/name), found {value!r}")
    return value


@click.command(cls=StrictCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The file to write, README.md for the hub.  [default: stdout]",
)
@click.option(
    "--verify",
    "verify_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.json",
    help="What `verify --json` printed of BUNDLE: what was checked becomes part of the card.",
)
@click.option(
    "--bench",
    "bench_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.json",
    help="What `bench --json` printed of BUNDLE: its speed becomes part of the card.",
)
@click.option(
    "--base-model",
    callback=parse_hub_id,
    metavar="OWNER/NAME",
    help="The target on the hub, if it was exported from a folder.",
)
@click.option(
    "--license", "licence", metavar="ID", help="The licence's id on the hub, such as apache-2.0."
)
@click.option("--target", help="The target (folder or hub id), whose own card says the licence.")
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
def command(
    bundle: Path,
    output: Path | None,
    verify_file: Path | None,
    bench_file: Path | None,
    base_model: str | None,
    licence: str | None,
    target: str | None,
    force: bool,
) -> None:
    """Write the model card of BUNDLE: Markdown with the front matter that the hub expects.

    It says what is in the bundle and what was measured, in the files given, and nothing else.
    """
    if licence is not None and target is not None:
        raise click.UsageError("give --license, or --target, whose card says it")
    from exporter.bundle.inspection import inspect_bundle
    from exporter.cli.card_text import CardFacts, Licence, model_card
    from exporter.cli.text_file import write_text
    from exporter.files.output import check_destination

    if output is not None:
        check_destination(output, force=force)
    inspection = inspect_bundle(bundle)
    if inspection.manifest is None:
        raise BundleError(
            f"{bundle}: expected a bundle that mtp-export made, found one without a manifest"
        )
    facts = CardFacts(
        inspection,
        base_model or _hub_id(inspection),
        Licence(licence) if licence else _licence_of(target) if target else None,
        _report(verify_file, "verify", VERIFY_KEYS, inspection),
        _report(bench_file, "bench", BENCH_KEYS, inspection),
    )
    if facts.base_model is None:
        click.echo(
            "base_model is left out: the target was a folder; --base-model OWNER/NAME says it",
            err=True,
        )
    if facts.licence is None:
        click.echo(
            "license is left out: --license ID says it, or --target, whose card has it", err=True
        )
    try:
        card = model_card(facts)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise BundleError(
            f"a report is of another version of mtp-export ({type(error).__name__}: {error}); make it again"
        ) from error
    if output is None:
        click.echo(card)
    else:
        write_text(output, card + "\n", "model card")
        click.echo(f"{output}: the model card of {bundle}")


def _hub_id(inspection: Inspection) -> str | None:
    """The target's, which has a revision if it came from the hub."""
    assert inspection.manifest is not None
    target = inspection.manifest["sources"]["target"]
    return str(target["source"]) if target["revision"] else None


def _report(
    path: Path | None, command_name: str, keys: frozenset[str], inspection: Inspection
) -> Mapping[str, Any] | None:
    """A report about this bundle.

    Raises:
        BundleError: The file is something else, or about another bundle.
    """
    if path is None:
        return None
    from exporter.checkpoints.json_file import read_json

    found, bundle = read_json(path), inspection.bundle.path
    if missing := sorted(keys - found.keys()):
        raise BundleError(
            f"{path}: expected what `mtp-export {command_name} --json` prints, found JSON without "
            f"{', '.join(missing)}"
        )
    about = Path(str(found.get("bundle", ""))).name
    if about != bundle.name or found.get("nbytes", bundle.stat().st_size) != bundle.stat().st_size:
        raise BundleError(
            f"{path}: expected a report about {bundle.name}, found one about {about}, or about that name "
            f"before it was made again; run `mtp-export {command_name} {bundle} --json > {path}`"
        )
    return found


def _licence_of(target: str) -> Licence:
    """What the target's own card says.

    Raises:
        CheckpointError: It has no card, or that says no licence.
    """
    from exporter.checkpoints.hub import download_card, read_card
    from exporter.checkpoints.source_folder import locate
    from exporter.cli.card_text import Licence

    card = locate(target, None, download_card).folder / "README.md"
    said = read_card(card)
    if not isinstance(said.get("license"), str):
        raise CheckpointError(f"{card}: the card says no license; give --license ID")
    name, link = (said.get(key) for key in ("license_name", "license_link"))
    return Licence(said["license"], name and str(name), link and str(link))
