"""Make the shipped tiny trained pair, a Gemma 4 target and its MTP drafter, from synthetic text.

    python scripts/make_tiny_pair.py --output checkpoints/tiny

Everything follows from the seed: corpus, tokenizer, weights. Progress goes to stderr, the summary
to stdout. The recipe itself is the package `tiny_pair` beside this file.
"""

import re
from itertools import islice
from pathlib import Path

import click
from tiny_pair.architecture import TINY, new_drafter
from tiny_pair.batches import training_batches
from tiny_pair.chat import build_tokenizer, spans
from tiny_pair.corpus import documents, evaluation_prompts
from tiny_pair.evaluate import NEAR_TIE, acceptance, score_target
from tiny_pair.files import load_drafter, load_target, load_tokenizer
from tiny_pair.making import begin, make_drafter, make_target, pair_options
from tiny_pair.optimise import int4_weights
from tokenizers import Tokenizer

SEGMENT_ROWS, SEGMENT_WIDTH = 8, 320
PROMPTS_PER_KIND = 8


@click.command()
@pair_options(steps_target=2800)
def main(
    output: Path,
    steps_target: int,
    steps_drafter: int,
    seed: int,
    threads: int,
    resume_target: int,
) -> None:
    """Train, save, reload and judge the tiny pair."""
    begin(threads)
    if resume_target < steps_target:
        tokenizer = load_tokenizer(output / "target") if resume_target else _new_tokenizer(seed)
        batches = training_batches(
            tokenizer, seed + resume_target, rows=SEGMENT_ROWS, width=SEGMENT_WIDTH
        )
        make_target(
            output,
            TINY,
            tokenizer,
            batches,
            first_step=resume_target,
            steps=steps_target,
            seed=seed,
        )
    drafter, target = new_drafter(TINY, seed), load_target(output / "target")
    tokenizer = load_tokenizer(output / "target")
    batches = training_batches(tokenizer, seed + 1000, rows=SEGMENT_ROWS, width=SEGMENT_WIDTH)
    make_drafter(output, target, drafter, batches, steps=steps_drafter, seed=seed)
    prompts = evaluation_prompts(PROMPTS_PER_KIND, seed)
    (output / "prompts.txt").write_text("".join(f"{d.exchanges[0].prompt}\n" for d in prompts))
    _judge(output, seed)


def _new_tokenizer(seed: int) -> Tokenizer:
    sample = islice(documents(seed, held_out=False), 8000)
    texts = ("".join(span.text for span in spans(document)) for document in sample)
    return build_tokenizer(re.sub(r"<[a-z|]+>", "\n", text) for text in texts)


def _judge(output: Path, seed: int) -> None:
    target, drafter = load_target(output / "target"), load_drafter(output / "drafter")
    tokenizer = load_tokenizer(output / "target")
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
