"""Make a trained pair big enough to tell recipes apart, from Python's own standard library.

    nice -n 5 python scripts/make_trained_pair.py --output /tmp/pair

A Gemma 4 target of 8.6 million parameters and a drafter of 1.4 million; about an hour of two CPU cores.
The text differs a little between versions of Python, and so do the weights. Beside target/ and
drafter/ it writes held_out.txt and calibration.txt (of the other side of the split) and prompts.txt.
An interrupted training is resumed with --resume-target. Progress goes to stderr.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiny_pair.batches import Batch
    from tokenizers import Tokenizer

ROWS, WIDTH = 6, 256
DRAFTER_ROWS, DRAFTER_WIDTH = 2, 192
NEVER = 1.0  # share of the steps after which weights are rounded while training


def _say(line: str) -> None:
    click.echo(line, err=True)


@click.command()
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--steps-target", default=1000, show_default=True, help="Steps of the target.")
@click.option("--steps-drafter", default=400, show_default=True, help="Steps of the drafter.")
@click.option("--seed", default=7, show_default=True, help="Seed of weights and order.")
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
@click.option(
    "--resume-target",
    default=0,
    metavar="STEP",
    help="Continue OUTPUT/target from this step; STEPS_TARGET trains the drafter only.",
)
def main(
    output: Path,
    steps_target: int,
    steps_drafter: int,
    seed: int,
    threads: int,
    resume_target: int,
) -> None:
    """Train and save the pair and the texts that measure it."""
    import torch
    from code_pair.batches import encode_all, new_tokenizer, training_batches
    from tiny_pair.architecture import CODE
    from tiny_pair.files import load_tokenizer
    from transformers.utils import logging as transformers_logging

    torch.set_num_threads(threads)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    tokenizer = load_tokenizer(output) if resume_target else new_tokenizer(CODE.vocabulary)
    _write_texts(output)
    stream = encode_all(tokenizer)
    _say(f"{len(stream):,} training tokens")
    if resume_target < steps_target:
        batches = training_batches(tokenizer, stream, seed + resume_target, rows=ROWS, width=WIDTH)
        _make_target(output, tokenizer, batches, resume_target, steps_target, seed)
    batches = training_batches(
        tokenizer, stream, seed + 1000, rows=DRAFTER_ROWS, width=DRAFTER_WIDTH
    )
    _make_drafter(output, batches, steps_drafter, seed)


def _write_texts(output: Path) -> None:
    from code_pair.text import sample, signatures

    output.mkdir(parents=True, exist_ok=True)
    for name, held_out in (("held_out", True), ("calibration", False)):
        text = sample(held_out=held_out, pieces=24, characters=1500)
        (output / f"{name}.txt").write_text(text, encoding="utf-8")
    (output / "prompts.txt").write_text("".join(f"{line}\n" for line in signatures(24)))


def _make_target(
    output: Path,
    tokenizer: "Tokenizer",
    batches: "Iterator[Batch]",
    first_step: int,
    steps: int,
    seed: int,
) -> None:
    from tiny_pair.architecture import CODE, new_target
    from tiny_pair.files import load_target, round_to_bfloat16, save_target
    from tiny_pair.target import train_target

    model = load_target(output) if first_step else new_target(CODE, seed)
    _say(f"{sum(p.numel() for p in model.model.language_model.parameters()):,} parameters")
    train_target(
        model,
        batches,
        first_step=first_step,
        steps=steps,
        int4_from=NEVER,
        report=_say,
        checkpoint=lambda _: save_target(model, tokenizer, output / "target"),
    )
    round_to_bfloat16(model)
    save_target(model, tokenizer, output / "target")


def _make_drafter(output: Path, batches: "Iterator[Batch]", steps: int, seed: int) -> None:
    from code_pair.start import start_from_target
    from tiny_pair.architecture import CODE, new_drafter
    from tiny_pair.drafter import train_drafter
    from tiny_pair.files import load_target, round_to_bfloat16, save_drafter

    target, drafter = load_target(output), new_drafter(CODE, seed)
    start_from_target(drafter, target)
    _say(f"{sum(p.numel() for p in drafter.parameters()):,} parameters")
    train_drafter(target, drafter, batches, steps=steps, seed=seed, report=_say)
    round_to_bfloat16(drafter)
    save_drafter(drafter, output / "drafter")


if __name__ == "__main__":
    main()
