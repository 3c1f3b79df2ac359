"""Bundles of the tiny target with other towers, and pictures for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image
from tokenizers import Tokenizer

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.options import ExportOptions
from exporter.pipeline import export
from quantize.builtin_recipes import RECIPES
from tests.bundles import DRAFT_LENGTH, TINY_DRAFTER, TINY_TARGET
from tests.once import lowering
from tests.vision.reference_features import drawn
from tests.vision.targets import COLOURS, PLANTED, planted_tower, write_target

ANIMALS = {"red": "fox", "green": "frog", "blue": "cat"}
"""What the planted tower takes colours for."""

FEW_TOKENS = (1, 4)
"""Of the planted tower's graphs."""
TOKENS = (16,)
"""Of the random tower's."""
EXACT = ((48, 48), (72, 24), (24, 96))
"""Sizes in pixels that the engine leaves as they are: the largest of their shape within 144 patches."""


def token_of(animal: str) -> int:
    token = Tokenizer.from_file(str(TINY_TARGET / "tokenizer.json")).token_to_id(f"▁{animal}")
    assert token is not None
    return token


def exported(target: Path, output: Path, recipe: str, image_tokens: tuple[int, ...]) -> None:
    """A bundle of the target and the tiny drafter, its pictures of so many tokens."""
    export_with(target, output, ExportOptions(RECIPES[recipe], image_tokens=image_tokens))


def export_with(target: Path, output: Path, chosen: ExportOptions) -> None:
    """A bundle of the target and the tiny drafter."""
    options = replace(chosen, draft_length=DRAFT_LENGTH)
    with lowering():
        export(open_checkpoint(target), open_checkpoint(TINY_DRAFTER), output, options)


def draw_pictures(folder: Path) -> None:
    """Each colour as a PNG that is one token and as a JPEG that has to be resized; and drawn ones."""
    folder.mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (12, 12), colour).save(folder / f"{name}.png")
        Image.new("RGB", (640, 480), colour).save(folder / f"{name}.jpg", quality=95)
    for width, height in EXACT:
        drawn(width, height).save(folder / f"{width}x{height}.png")


def export_planted(output: Path) -> None:
    """A tower that takes red for a fox, green for a frog and blue for a cat; int8."""
    tokens = {colour: token_of(animal) for colour, animal in ANIMALS.items()}
    target = write_target(output.with_suffix(".target"), PLANTED, planted_tower(tokens))
    exported(target, output, "int8", FEW_TOKENS)
