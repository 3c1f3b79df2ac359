"""Which options of ``generate``, ``compare`` and ``chat`` do nothing together."""

from __future__ import annotations

import click

from exporter.cli.conversations import Asked
from exporter.cli.running_options import Choices
from exporter.cli.runtimes import STOCK
from exporter.contract.names import Accelerator


def check_usage(asked: Asked, choices: Choices, mtp: str | None) -> None:
    """Refuse options that do nothing together, before anything is read.

    Args:
        asked: What is to be answered.
        choices: How.
        mtp: ``on``, ``off`` or ``both``; None where the bundle decides.

    Raises:
        click.UsageError: The first of them.
    """
    stock, onnx = choices.runtime == STOCK, choices.runtime == "onnx"
    length, source = choices.draft_length, choices.draft_from
    wrong = (
        (asked.ways > 1, "give --prompt, --prompts or --chat-file, one of them"),
        (
            bool(asked.images or asked.sounds) and asked.chat_file is not None,
            "a chat file names its own pictures and sounds: leave out --image and --audio",
        ),
        (
            length is not None and stock,
            "the engine drafts as many tokens as the bundle's verify takes: --draft-length needs "
            "--runtime reference or onnx",
        ),
        (
            length is not None and mtp == "off",
            "nothing is drafted with --mtp off: leave out --draft-length",
        ),
        (
            source is not None and stock,
            "the engine drafts with the drafter: --draft-from needs --runtime reference or onnx",
        ),
        (
            source is not None and mtp == "off",
            "nothing is drafted with --mtp off: leave out --draft-from",
        ),
        (
            source == "auto" and isinstance(length, int),
            "--draft-from auto drafts as much as pays: leave out --draft-length, or choose drafter or lookup",
        ),
        (
            source == "lookup" and asked.batch is not None and asked.batch > 1,
            "several prompts at once have their drafts from the drafter: leave out --batch or --draft-from",
        ),
        (
            asked.batch is not None and choices.runtime != "reference",
            f"{choices.runtime} answers one prompt at a time: --batch needs --runtime reference",
        ),
        (
            choices.weight_cache is not None and onnx,
            "ONNX Runtime keeps no packed weights: leave out --weight-cache",
        ),
        (
            choices.accelerator != Accelerator.CPU.value and onnx,
            "ONNX folders run on the CPU only: leave out --accelerator",
        ),
    )
    for refused, message in wrong:
        if refused:
            raise click.UsageError(message)


def check_sampling(choices: Choices, mtp: str) -> None:
    """Refuse sampling settings that the engine would ignore.

    Raises:
        click.UsageError: There are some, and ``mtp`` is not ``off``.
    """
    if choices.sampled and choices.runtime == STOCK and mtp != "off":
        raise click.UsageError(
            "the engine ignores sampling settings under speculative decoding: "
            f"{'' if mtp == 'both' else 'add --mtp off, or '}--runtime reference or onnx"
        )
