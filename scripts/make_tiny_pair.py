"""Make the shipped tiny trained pair, a Gemma 4 target and its MTP drafter, from synthetic text.

    python scripts/make_tiny_pair.py --output checkpoints/tiny

Everything follows from the seed: corpus, tokenizer, weights. Progress goes to stderr, the summary
to stdout. The recipe itself is the package `tiny_pair` beside this file.
"""

import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SEGMENT_ROWS, SEGMENT_WIDTH = 8, 320
PROMPTS_PER_KIND = 8


def _say(line: str) -> None:
    click.echo(line, err=True)


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for target/, drafter/ and prompts.txt.",
)
@click.option(
    "--steps-target", default=2800, show_default=True, help="Training steps of the target."
)
@click.option(
    "--steps-drafter", default=400, show_default=True, help="Training steps of the drafter."
)
@click.option("--seed", default=7, show_default=True, help="Seed of corpus, weights and order.")
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
    """Train, save, reload and judge the tiny pair."""
    import torch
    from transformers.utils import logging as transformers_logging

    torch.set_num_threads(threads)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if resume_target < steps_target:
        _make_target(output, resume_target, steps_target, seed)
    _make_drafter(output, steps_drafter, seed)
    _write_prompts(output, seed)
    _judge(output, seed)


def _new_tokenizer(seed: int) -> "Tokenizer":
    from tiny_pair.chat import build_tokenizer, spans
    from tiny_pair.corpus import documents

    sample = islice(documents(seed, held_out=False), 8000)
    texts = ("".join(span.text for span in spans(document)) for document in sample)
    return build_tokenizer(re.sub(r"<[a-z|]+>", "\n", text) for text in texts)


def _make_target(output: Path, first_step: int, steps: int, seed: int) -> None:
    from tiny_pair.architecture import TINY, new_target
    from tiny_pair.batches import training_batches
    from tiny_pair.files import load_target, load_tokenizer, round_to_bfloat16, save_target
    from tiny_pair.target import train_target

    tokenizer = load_tokenizer(output) if first_step else _new_tokenizer(seed)
    model = load_target(output) if first_step else new_target(TINY, seed)
    train_target(
        model,
        training_batches(tokenizer, seed + first_step, rows=SEGMENT_ROWS, width=SEGMENT_WIDTH),
        first_step=first_step,
        steps=steps,
        report=_say,
        checkpoint=lambda _: save_target(model, tokenizer, output / "target"),
    )
    round_to_bfloat16(model)
    save_target(model, tokenizer, output / "target")


def _make_drafter(output: Path, steps: int, seed: int) -> None:
    from tiny_pair.architecture import TINY, new_drafter
    from tiny_pair.batches import training_batches
    from tiny_pair.drafter import train_drafter
    from tiny_pair.files import load_target, load_tokenizer, round_to_bfloat16, save_drafter

    drafter = new_drafter(TINY, seed)
    train_drafter(
        load_target(output),
        drafter,
        training_batches(
            load_tokenizer(output), seed + 1000, rows=SEGMENT_ROWS, width=SEGMENT_WIDTH
        ),
        steps=steps,
        seed=seed,
        report=_say,
    )
    round_to_bfloat16(drafter)
    save_drafter(drafter, output / "drafter")


def _write_prompts(output: Path, seed: int) -> None:
    from tiny_pair.corpus import evaluation_prompts

    chosen = evaluation_prompts(PROMPTS_PER_KIND, seed)
    (output / "prompts.txt").write_text("".join(f"{d.exchanges[0].prompt}\n" for d in chosen))


def _judge(output: Path, seed: int) -> None:
    from tiny_pair.corpus import documents, evaluation_prompts
    from tiny_pair.evaluate import NEAR_TIE, acceptance, score_target
    from tiny_pair.files import load_drafter, load_target, load_tokenizer
    from tiny_pair.optimise import int4_weights

    target, drafter, tokenizer = load_target(output), load_drafter(output), load_tokenizer(output)
    prompts = evaluation_prompts(PROMPTS_PER_KIND, seed)
    many = list(islice(documents(seed + 1, held_out=True), 300))
    for name, chosen in (("prompts.txt", prompts), ("300 held-out documents", many)):
        for weights in ("bf16", "int4"):
            with int4_weights(target.model.language_model, enabled=weights == "int4"):
                score = score_target(target, tokenizer, chosen)
            click.echo(f"{name}, {weights}: {score.exact}/{score.total} answers exactly right")
            click.echo(
                f"  {score.near_ties}/{score.tokens} answer tokens with a margin under {NEAR_TIE}, "
                f"smallest {score.smallest_margin:.3f}"
            )
            wrong = {k: f"{a}/{b}" for k, (a, b) in score.by_kind.items() if a < b}
            click.echo(f"  kinds with mistakes: {wrong or 'none'}")
            if name == "prompts.txt" and weights == "bf16":
                rate = acceptance(target, drafter, tokenizer, list(score.right))
                counts = f"{rate.accepted}/{rate.drafted} = {rate.rate:.3f}"
                click.echo(f"  drafts accepted {counts} in {rate.rounds} rounds")


if __name__ == "__main__":
    main()
