"""Make a LoRA adapter with which the tiny target says the same things in other words: a simulated fine-tune.

    python scripts/make_restyled_adapter.py --target checkpoints/tiny/target --output build/restyled

Common words of all answers change places, so that the stock drafter foresees little. Beside the adapter it
writes `prompts.txt`, to tune a drafter with. Everything follows from the seed.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random

import click
import torch
from peft import LoraConfig, get_peft_model
from tiny_pair.batches import shuffled_batches
from tiny_pair.chat import encode
from tiny_pair.corpus import Document, documents
from tiny_pair.files import load_target, load_tokenizer
from tiny_pair.making import begin, say
from tiny_pair.target import train_target

WORD = re.compile(r"[a-z]{3,}")
WORDS = 200
"""The most common words of answers, which change places."""
COUNTED = 2000
"""Documents in which they are counted."""

RANK = 16
MODULES = (
    r".*\.language_model\..*(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)|"
    r".*\.language_model\.embed_tokens"
)
ROWS, WIDTH = 2, 512


def other_words(seed: int) -> dict[str, str]:
    """What each common word becomes."""
    every = islice(documents(seed, held_out=False), COUNTED)
    found = Counter(w for d in every for e in d.exchanges for w in WORD.findall(e.answer))
    words = [word for word, _ in found.most_common(WORDS)]
    return dict(zip(words, Random(seed).sample(words, len(words)), strict=True))  # noqa: S311


def restyled(document: Document, words: dict[str, str]) -> Document:
    """The document with other words in its answers."""

    def change(answer: str) -> str:
        return WORD.sub(lambda match: words.get(match[0], match[0]), answer)

    exchanges = tuple(replace(e, answer=change(e.answer)) for e in document.exchanges)
    return replace(document, exchanges=exchanges)


def chats(seed: int, *, held_out: bool) -> Iterator[Document]:
    """Documents in chat form, of one turn and without a system prompt."""
    for document in documents(seed, held_out=held_out):
        if not document.plain and document.system is None and len(document.exchanges) == 1:
            yield document


@click.command()
@click.option(
    "--target",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="The tiny target.",
)
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="Folder for the adapter."
)
@click.option("--steps", default=200, show_default=True, help="Training steps.")
@click.option("--prompts", default=400, show_default=True, help="Prompts to write.")
@click.option("--seed", default=3, show_default=True, help="Of words, text, weights and order.")
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
def main(target: Path, output: Path, steps: int, prompts: int, seed: int, threads: int) -> None:
    """Train and save the adapter, and write prompts."""
    begin(threads)
    torch.manual_seed(seed)
    base, tokenizer, words = load_target(target), load_tokenizer(target), other_words(seed)
    model = get_peft_model(
        base,
        LoraConfig(
            r=RANK,
            lora_alpha=2 * RANK,
            target_modules=MODULES,
            task_type="CAUSAL_LM",
        ),
    )
    encoded = (encode(tokenizer, restyled(d, words)) for d in chats(seed, held_out=False))
    fitting = (one for one in encoded if len(one.ids) <= WIDTH)
    train_target(
        base,
        shuffled_batches(fitting, seed, rows=ROWS, width=WIDTH),
        first_step=0,
        steps=steps,
        int4_from=1,
        report=say,
        checkpoint=lambda _: None,
    )
    model.to(torch.bfloat16).save_pretrained(output, save_embedding_layers=False)
    (output / "README.md").unlink(missing_ok=True)  # PEFT's empty form of a model card
    asked: dict[str, None] = {}
    for document in chats(seed + 1, held_out=False):
        asked[document.exchanges[0].prompt] = None
        if len(asked) == prompts:
            break
    (output / "prompts.txt").write_text("\n".join(asked) + "\n", encoding="utf-8")
    click.echo(f"{output}: an adapter of rank {RANK}, and {len(asked)} prompts")


if __name__ == "__main__":
    main()
