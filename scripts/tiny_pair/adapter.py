"""Training of a LoRA adapter over the tiny target, and the command line that such scripts share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
import torch
from peft import LoraConfig, get_peft_model

from .batches import shuffled_batches
from .chat import Encoded
from .files import load_target
from .making import say
from .target import train_target

WIDTH = 512
"""Tokens of a batch's row; longer documents are left out."""

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def adapter_options(function: CommandT) -> CommandT:
    """``--target``, ``--output`` and ``--threads``."""
    for option in (
        click.option("--threads", default=1, show_default=True, help="CPU threads."),
        click.option(
            "--output",
            type=click.Path(path_type=Path),
            required=True,
            help="Folder for the adapter.",
        ),
        click.option(
            "--target",
            type=click.Path(path_type=Path, exists=True, file_okay=False),
            required=True,
            help="The tiny target.",
        ),
    ):
        function = option(function)
    return function


def train_adapter(
    target: Path,
    output: Path,
    lora: LoraConfig,
    documents: Iterable[Encoded],
    *,
    seed: int,
    steps: int,
    rows: int,
) -> None:
    """Train an adapter and save it, in bfloat16.

    Args:
        target: The tiny target's folder.
        output: The adapter's.
        lora: What is trained.
        documents: An endless stream.
        seed: Of its first weights and of the order of the documents.
        steps: Of the optimiser.
        rows: Of a batch.
    """
    torch.manual_seed(seed)
    base = load_target(target)
    model = get_peft_model(base, lora)
    fitting = (one for one in documents if len(one.ids) <= WIDTH)
    train_target(
        base,
        shuffled_batches(fitting, seed, rows=rows, width=WIDTH),
        first_step=0,
        steps=steps,
        int4_from=1,
        report=say,
        checkpoint=lambda _: None,
    )
    model.to(torch.bfloat16).save_pretrained(output, save_embedding_layers=False)
    (output / "README.md").unlink(missing_ok=True)  # PEFT's empty form of a model card
