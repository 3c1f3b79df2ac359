"""What the plans for pictures and for sound have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from exporter.checkpoints.assets.assets import Assets
from exporter.checkpoints.assets.media_tokens import (
    MediaTokens,
    MediumSpelling,
    read_media_tokens,
)
from exporter.checkpoints.assets.tokenizer_file import read_tokenizer
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.tensors.tower_names import TowerNames
from exporter.errors import CheckpointError, ConfigError
from exporter.lowering.tower import TowerRequest
from exporter.options import OutputFormat
from exporter.weights.matching import Weight, Weights, WeightSpecs
from exporter.weights.towers import Layout, find_tower_weights, has_tower

Request = TypeVar("Request", bound=TowerRequest, covariant=True)


@dataclass(frozen=True)
class TowerPlan(Generic[Request]):
    """What will be made of a tower: its graphs, the weights they take, and the tensors that fill these."""

    request: Request
    specs: WeightSpecs
    weights: Weights


@dataclass(frozen=True)
class Candidate:
    """A tower that a checkpoint may have, and what a bundle needs beside it."""

    target: Checkpoint
    names: TowerNames
    medium: MediumSpelling
    tokens: MediaTokens | None
    """What stands around a picture or a clip in a prompt."""
    wanted: bool
    """Whether the user has not asked to leave it out."""
    described: bool
    """Whether ``config.json`` describes it."""

    def left_out(self, assets: Assets, form: OutputFormat) -> str | None:
        """Why the tower cannot be part of a bundle, as the end of a sentence; None if it can."""
        if not self.wanted:
            return f"--no-{self.names.kind} leaves the tower out"
        if not self.described:
            return f"config.json describes no {self.names.kind} tower"
        if not has_tower(self.target, self.names):
            return (
                f"the weights have none of the {self.names.kind} tower that config.json describes"
            )
        if form is OutputFormat.ONNX:
            return "ONNX folders hold the text model only"
        if self.medium.place not in assets.template.source:
            return f"the chat template has no place for {self.medium.plural} ({self.medium.place})"
        if self.tokens is None:
            ids = f"{self.medium.start_id}, {self.medium.end_id}"
            return f"the tokenizer has no tokens for the begin and end of one ({ids})"
        return None

    def told(self, why: str, option: str | None) -> tuple[str, ...]:
        """What to tell of a tower that is left out: nothing where there is none.

        Args:
            why: As :meth:`left_out` says.
            option: What was given of the options for the tower; None if nothing was.

        Raises:
            ConfigError: The option is of no use.
        """
        if option is not None:
            raise ConfigError(f"{self.target.folder}: {why}, so {option} is of no use")
        if not has_tower(self.target, self.names):
            return ()
        return (f"the bundle takes no {self.medium.plural}: {why}",)


def with_weights_of(weights: Weights, towers: Iterable[TowerPlan[TowerRequest]]) -> Weights:
    """Weights of the text model and its drafter, and those of towers beside them."""
    found = dict(weights)
    for tower in towers:
        found |= tower.weights
    return found


def tower_weights(
    target: Checkpoint, medium: MediumSpelling, layout: Layout, specs: WeightSpecs, table: Weight
) -> Weights:
    """The weights of a target's tower, as an export that made graphs of it has found them.

    Args:
        target: A checkpoint that has the tower.
        medium: What the tower encodes.
        layout: Of the tower.
        specs: What its graphs take.
        table: The target's token table.

    Raises:
        CheckpointError: Listing tensors that are missing or mis-shaped, or there are no tokens for the
            begin and end of what the tower encodes.
    """
    tokenizer = read_tokenizer(target.small_file("tokenizer.json"))
    tokens = read_media_tokens(medium, target.config, tokenizer)
    if tokens is None:
        raise CheckpointError(
            f"{target.folder}: the tokenizer has no tokens around {medium.plural}"
        )
    return find_tower_weights(layout, specs, target, table, tokens.end_id)
