"""Training either half of a pair and saving it; the options and words of the scripts that do so."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click
import torch
from tokenizers import Tokenizer
from transformers import Gemma4AssistantForCausalLM, Gemma4ForConditionalGeneration, PreTrainedModel
from transformers.utils import logging as transformers_logging

from .architecture import Sizes, new_target
from .batches import TextBatch
from .drafter import train_drafter
from .files import load_target, round_to_bfloat16, save_drafter, save_target
from .target import INT4_FROM, train_target

Command = TypeVar("Command", bound=Callable[..., Any])


def pair_options(steps_target: int) -> Callable[[Command], Command]:
    """The options of a script that makes a pair, with the default of --steps-target."""
    options = (
        click.option(
            "--output", type=click.Path(path_type=Path), required=True, help="Folder to write."
        ),
        click.option(
            "--steps-target",
            default=steps_target,
            show_default=True,
            help="Training steps of the target.",
        ),
        click.option(
            "--steps-drafter", default=400, show_default=True, help="Training steps of the drafter."
        ),
        click.option(
            "--seed", default=7, show_default=True, help="Seed of text, weights and order."
        ),
        click.option("--threads", default=2, show_default=True, help="CPU threads."),
        click.option(
            "--resume-target",
            default=0,
            metavar="STEP",
            help="Continue OUTPUT/target from this step; STEPS_TARGET trains the drafter only.",
        ),
    )

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def begin(threads: int) -> None:
    """Let torch use so many threads, and transformers say nothing."""
    torch.set_num_threads(threads)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def say(line: str) -> None:
    """One line of progress."""
    click.echo(line, err=True)


def make_target(
    output: Path,
    sizes: Sizes,
    tokenizer: Tokenizer,
    batches: Iterator[TextBatch],
    *,
    first_step: int,
    steps: int,
    seed: int,
    int4_from: float = INT4_FROM,
) -> None:
    """Train a target, or the one in OUTPUT from its ``first_step`` on, and save it."""
    folder = output / "target"
    model = load_target(folder) if first_step else new_target(sizes, seed)
    _say_size(model.model.language_model)
    train_target(
        model,
        batches,
        first_step=first_step,
        steps=steps,
        int4_from=int4_from,
        report=say,
        checkpoint=lambda _: save_target(model, tokenizer, folder),
    )
    round_to_bfloat16(model)
    save_target(model, tokenizer, folder)


def make_drafter(
    output: Path,
    target: Gemma4ForConditionalGeneration,
    drafter: Gemma4AssistantForCausalLM,
    batches: Iterator[TextBatch],
    *,
    steps: int,
    seed: int,
) -> None:
    """Train a fresh drafter and save it."""
    _say_size(drafter)
    train_drafter(target, drafter, batches, steps=steps, seed=seed, report=say)
    round_to_bfloat16(drafter)
    save_drafter(drafter, output / "drafter")


def _say_size(model: PreTrainedModel) -> None:
    say(f"{sum(p.numel() for p in model.parameters()):,} parameters")
