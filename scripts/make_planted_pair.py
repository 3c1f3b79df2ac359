"""Make a planted pair: a Gemma 4 target and drafter of any size whose greedy output is known.

    python scripts/make_planted_pair.py --size small --acceptance 0.7 --output /tmp/planted

All matrices have their full size and random numbers, so everything costs what it costs in a real
model; but every branch adds exactly nothing, greedy text is a, b, a, b, ... and the drafter is right
after a chosen share of tokens. How that works is told in `planted_pair/planting.py`. Written a block
at a time: E2B (10 GB) takes well under 300 MB of memory.

Replies begin with the partner of the prompt's last word: `say t1000` is answered ` t1001 t1000 ...`.
In such a reply drafts are all right if the drafter is right after both tokens; one of each round is
right if it is right after one, none if after none. planted.json lists prompts of each kind.
"""

import json
from pathlib import Path

import click
from planted_pair.files import write_checkpoint
from planted_pair.planting import Planting
from planted_pair.sizes import SIZES
from planted_pair.tensors import drafter_tensors, target_tensors
from planted_pair.text import write_drafter_files, write_target_files
from planted_pair.towers import PlantedTowers

PROMPTS_LISTED = 8


@click.command()
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="Folder for target/, drafter/."
)
@click.option(
    "--size",
    type=click.Choice(list(SIZES)),
    default="small",
    show_default=True,
    help="Whose shapes, or smaller ones.",
)
@click.option(
    "--acceptance",
    type=click.FloatRange(0, 1),
    default=0.7,
    show_default=True,
    help="Share of tokens after which the drafter is right.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of every number.")
@click.option("--vision", is_flag=True, help="Give the target a vision tower of E2B's size.")
@click.option("--audio", is_flag=True, help="Give the target an audio tower of E2B's size.")
@click.option("--check", is_flag=True, help="Run it with transformers afterwards (small sizes).")
def main(
    output: Path,
    size: str,
    acceptance: float,
    seed: int,
    vision: bool,
    audio: bool,
    check: bool,
) -> None:
    """Write the pair; its size in bytes goes to stdout."""
    planting, towers = Planting(SIZES[size], seed, acceptance), PlantedTowers(vision, audio)
    total = 0
    for role in ("target", "drafter"):
        folder = output / role
        folder.mkdir(parents=True, exist_ok=True)
        target = role == "target"
        tensors = target_tensors(planting, towers) if target else drafter_tensors(planting)
        config = planting.size.target_config() if target else planting.size.drafter_config()
        if target:
            config |= towers.config()
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        written = write_checkpoint(folder, tensors)
        total += written
        click.echo(f"{folder}: {len(tensors)} tensors, {written:,} bytes", err=True)
    write_target_files(output / "target", planting.size.vocab, planting.size.max_position)
    write_drafter_files(output / "drafter")
    _describe(output / "planted.json", planting)
    click.echo(f"{total}")
    if check:
        _check(output, planting)


def _describe(path: Path, planting: Planting) -> None:
    wrong = int(planting.all_wrong().sum())
    description = {
        "size": planting.size.name,
        "seed": planting.seed,
        "acceptance": 1 - wrong / planting.size.vocab,
        "prompts_by_tokens_drafted_right": planting.prompts(PROMPTS_LISTED),
    }
    path.write_text(json.dumps(description, indent=2) + "\n")


def _check(output: Path, planting: Planting) -> None:
    from planted_pair.reference import examine

    findings = examine(output, planting)
    click.echo(f"{findings}")
    as_planted = (
        findings.greedy_right == findings.greedy_total
        and findings.assisted_equal
        and findings.drafts_as_planted == findings.second_drafts_as_planted == 1.0
    )
    if not as_planted:
        raise click.ClickException("transformers does not find what was planted")


if __name__ == "__main__":
    main()
