"""What recipes make of a model, in bytes, from its ``config.json`` alone: no tensor has to be there.

Counts weights with their scales, as ``exporter.litertlm`` stores them. Graphs, tokenizer and padding are not
known here, and neither are codes that a checkpoint was trained with, which an export keeps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.agreement import choose_head
from exporter.checkpoints.configs.audio import parse_audio
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.checkpoints.configs.vision import parse_vision
from exporter.checkpoints.hub import download_config
from exporter.checkpoints.named_target import locate_target
from exporter.checkpoints.pair import check_pair
from exporter.checkpoints.tensors.tensor_names import recipe_name
from exporter.checkpoints.tensors.tower_names import AUDIO, VISION
from exporter.contract.names import Dtype, Section, TensorSpec
from exporter.errors import RecipeError
from exporter.options import ExportOptions
from exporter.weights.audio_parameters import RELATIVE_KEYS, audio_parameter_specs
from exporter.weights.parameters import Specs, parameter_specs
from exporter.weights.vision_parameters import vision_parameter_specs
from quantize.builtin_recipes import covering_towers
from quantize.evidence import BEST_FIRST, RECOMMENDED
from quantize.recipe import UNQUANTISED, Recipe, Rule
from quantize.storage import Storage

ROW_SCALE_BYTES = 12
"""A float32 scale and an int64 zero point."""
BLOCK_SCALE_BYTES = 2

GRAPH_BYTES = 2_000_000
"""Of all graphs of a bundle, without weights, about."""
TOKEN_BYTES = 123
"""What a token takes in Gemma 4's tokenizer.json (32,169,626 bytes of 262,144 tokens); compressed less."""

Config = Mapping[str, Any]
NamedSpecs = Mapping[Section, Specs]
"""By section: weights by the names that recipes match."""


def described_weights(
    target: Config, drafter: Config | None, where: str, options: ExportOptions
) -> NamedSpecs:
    """Every weight that a bundle of these models would have.

    Args:
        target: The parsed ``config.json`` of the target.
        drafter: The drafter's; None for a bundle without one.
        where: Path or id shown in error messages.
        options: Of which towers and the drafter's head are looked at.

    Raises:
        ConfigError: A model is not exportable.
        MismatchError: The two do not belong together.
    """
    text = parse_target(target, where)
    drafts = None if drafter is None else parse_drafter(drafter, f"{where}'s drafter")
    if drafts is not None:
        check_pair(text, drafts)
    head = choose_head(drafts, options)
    found: dict[Section, Specs] = {
        section: {recipe_name(section, name): spec for name, spec in specs.items()}
        for section, specs in parameter_specs(text, drafts, head).items()
    }
    width = text.text.hidden_size
    if options.vision and (vision := parse_vision(target, where)) is not None:
        found |= _prefixed(VISION.kind, vision_parameter_specs(vision, width))
    if options.audio and (audio := parse_audio(target, where)) is not None:
        found |= _prefixed(AUDIO.kind, audio_parameter_specs(audio, width))
    return found


def _prefixed(kind: str, sections: Mapping[Section, Specs]) -> dict[Section, Specs]:
    return {
        s: {f"{kind}.{name}": spec for name, spec in found.items()} for s, found in sections.items()
    }


def beside_weights(target: Config, where: str) -> int:
    """Bytes that a bundle takes for graphs and tokenizer, at most.

    Raises:
        ConfigError: The model is not exportable.
    """
    return GRAPH_BYTES + TOKEN_BYTES * parse_target(target, where).text.vocab_size


def section_sizes(weights: NamedSpecs, recipe: Recipe) -> dict[Section, int] | None:
    """Bytes of each section; None if the recipe stores rows in a way that their lengths do not allow."""
    recipe = covering_towers(recipe, (VISION.kind, AUDIO.kind))
    sizes = {}
    for section, specs in weights.items():
        stored = [stored_bytes(name, spec, recipe) for name, spec in specs.items()]
        known = [nbytes for nbytes in stored if nbytes is not None]
        if len(known) < len(stored):
            return None
        sizes[section] = sum(known)
    return sizes


def stored_bytes(name: str, spec: TensorSpec, recipe: Recipe) -> int | None:
    """Of one weight; None if its rows do not fit the storage."""
    rule = rule_of(name, spec, recipe)
    length = spec.shape[-1]
    if not rule.storage.fits(length):
        return None
    return storage_bytes(math.prod(spec.shape) // length, length, rule.storage)


def rule_of(name: str, spec: TensorSpec, recipe: Recipe) -> Rule:
    """How a weight is stored; integers take as many bytes as floats."""
    matrix = len(spec.shape) == 2 and spec.dtype is Dtype.FLOAT32
    return recipe.rule(name) if matrix and not name.endswith(RELATIVE_KEYS) else UNQUANTISED


def storage_bytes(rows: int, length: int, storage: Storage) -> int:
    """Of rows of so many elements, with their scales."""
    scales = rows * storage.scales_per_row(length)
    scale_bytes = BLOCK_SCALE_BYTES if storage.block else ROW_SCALE_BYTES
    return rows * length * storage.bits // 8 + scales * scale_bytes


@dataclass(frozen=True)
class Sized:
    """What a recipe makes of a model."""

    recipe: Recipe
    sections: Mapping[Section, int] | None
    """Bytes by section; None where the recipe does not fit the model."""

    @property
    def nbytes(self) -> int | None:
        """Of all sections."""
        return None if self.sections is None else sum(self.sections.values())


def size_recipes(weights: NamedSpecs, recipes: Sequence[Recipe]) -> list[Sized]:
    """What each recipe makes of a model."""
    return [Sized(recipe, section_sizes(weights, recipe)) for recipe in recipes]


def recommended(sized: Sequence[Sized], fits: int | None, beside: int) -> Sized:
    """Which recipe to take.

    Args:
        sized: All built-in recipes.
        fits: The most bytes that a bundle may take; None to have a recipe for a phone.
        beside: What of that is for graphs and tokenizer.

    Raises:
        RecipeError: None of them fits.
    """
    by_name = {each.recipe.name: each for each in sized if each.nbytes is not None}
    ranked = [by_name[name] for name in BEST_FIRST if name in by_name]
    if fits is None:
        return by_name.get(RECOMMENDED, ranked[0])
    fitting = [each for each in ranked if (each.nbytes or 0) + beside <= fits]
    if not fitting:
        least = min(ranked, key=lambda each: each.nbytes or 0)
        size = ((least.nbytes or 0) + beside) / 1e6
        raise RecipeError(
            f"no recipe makes a bundle of {fits / 1e6:,.1f} MB of this model: with `{least.recipe.name}`, "
            f"the smallest, it takes up to {size:,.1f} MB; take a smaller model, or leave towers out "
            "(--no-vision, --no-audio)"
        )
    return fitting[0]


def read_config(name: str) -> Config:
    """The ``config.json`` of a folder or hub id; of the hub nothing else is downloaded.

    Raises:
        CheckpointError: There is none.
    """
    return locate_target(name, None, download_config).config()
