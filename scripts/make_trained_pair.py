"""Make a trained pair big enough to tell recipes apart, from Python's own standard library.

    nice -n 5 python scripts/make_trained_pair.py --output /tmp/pair

A Gemma 4 target of 8.6 million parameters and a drafter of 1.4 million; about an hour of two CPU cores.
The text differs a little between versions of Python, and so do the weights. Beside target/ and
drafter/ it writes held_out.txt and calibration.txt (of the other side of the split) and prompts.txt.
An interrupted training is resumed with --resume-target. Progress goes to stderr.
"""

from pathlib import Path

import click
from code_pair.batches import encode_all, new_tokenizer, training_batches
from code_pair.start import start_from_target
from code_pair.text import sample, signatures
from tiny_pair.architecture import CODE, new_drafter
from tiny_pair.files import load_target, load_tokenizer
from tiny_pair.making import begin, make_drafter, make_target, pair_options, say

ROWS, WIDTH = 6, 256
DRAFTER_ROWS, DRAFTER_WIDTH = 2, 192
NEVER = 1.0  # share of the steps after which weights are rounded while training


@click.command()
@pair_options(steps_target=1000)
def main(
    output: Path,
    steps_target: int,
    steps_drafter: int,
    seed: int,
    threads: int,
    resume_target: int,
) -> None:
    """Train and save the pair and the texts that measure it."""
    begin(threads)
    folder = output / "target"
    tokenizer = load_tokenizer(folder) if resume_target else new_tokenizer(CODE.vocabulary)
    _write_texts(output)
    stream = encode_all(tokenizer)
    say(f"{len(stream):,} training tokens")
    if resume_target < steps_target:
        make_target(
            output,
            CODE,
            tokenizer,
            training_batches(tokenizer, stream, seed + resume_target, rows=ROWS, width=WIDTH),
            first_step=resume_target,
            steps=steps_target,
            seed=seed,
            int4_from=NEVER,
        )
    batches = training_batches(
        tokenizer, stream, seed + 1000, rows=DRAFTER_ROWS, width=DRAFTER_WIDTH
    )
    target, drafter = load_target(folder), new_drafter(CODE, seed)
    start_from_target(drafter, target)
    make_drafter(output, target, drafter, batches, steps=steps_drafter, seed=seed)


def _write_texts(output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    for name, held_out in (("held_out", True), ("calibration", False)):
        text = sample(held_out=held_out, pieces=24, characters=1500)
        (output / f"{name}.txt").write_text(text, encoding="utf-8")
    (output / "prompts.txt").write_text("".join(f"{line}\n" for line in signatures(24)))


if __name__ == "__main__":
    main()
