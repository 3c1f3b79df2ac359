"""Which options of ``generate`` do nothing together."""

from __future__ import annotations

from pathlib import Path

import click

from exporter.cli.runtimes import STOCK
from exporter.contract.names import Accelerator


def check_usage(
    runtime: str,
    mtp: str,
    *,
    asked: int,
    sampled: bool,
    draft_length: str | int | None,
    draft_from: str | None,
    batch: int | None,
    weight_cache: Path | None,
    accelerator: str,
    media: bool,
) -> None:
    """Refuse options that do nothing together, before anything is read.

    ``asked`` counts the ways in which prompts are given; ``media`` is whether there are pictures or sounds
    beside a chat file.

    Raises:
        click.UsageError: The first of them.
    """
    stock, onnx = runtime == STOCK, runtime == "onnx"
    wrong = (
        (asked != 1, "give --prompt, --prompts or --chat-file"),
        (media, "a chat file names its own pictures and sounds: leave out --image and --audio"),
        (
            sampled and stock and mtp != "off",
            "the engine ignores sampling settings under speculative decoding: add --mtp off, or "
            "--runtime reference or onnx",
        ),
        (
            draft_length is not None and stock,
            "the engine drafts as many tokens as the bundle's verify takes: --draft-length needs "
            "--runtime reference or onnx",
        ),
        (
            draft_length is not None and mtp == "off",
            "nothing is drafted with --mtp off: leave out --draft-length",
        ),
        (
            draft_from is not None and stock,
            "the engine drafts with the drafter: --draft-from needs --runtime reference or onnx",
        ),
        (
            draft_from is not None and mtp == "off",
            "nothing is drafted with --mtp off: leave out --draft-from",
        ),
        (
            draft_from == "auto" and isinstance(draft_length, int),
            "--draft-from auto drafts as much as pays: leave out --draft-length, or choose drafter or lookup",
        ),
        (
            draft_from == "lookup" and batch is not None and batch > 1,
            "several prompts at once have their drafts from the drafter: leave out --batch or --draft-from",
        ),
        (
            batch is not None and runtime != "reference",
            f"{runtime} answers one prompt at a time: --batch needs --runtime reference",
        ),
        (
            weight_cache is not None and onnx,
            "ONNX Runtime keeps no packed weights: leave out --weight-cache",
        ),
        (
            accelerator != Accelerator.CPU.value and onnx,
            "ONNX folders run on the CPU only: leave out --accelerator",
        ),
    )
    for refused, message in wrong:
        if refused:
            raise click.UsageError(message)
