"""What the user chose about a bundle; ``exporter.conflicts`` has what cannot be chosen."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from exporter.checkpoints.architecture import HeadKind
from exporter.contract.names import Accelerator, Dtype
from quantize.recipe import Recipe

DEFAULT_DRAFT_LENGTH = 3


class SlidingCache(enum.StrEnum):
    """How long the caches of sliding layers are."""

    FULL = "full"
    """As long as all others."""
    RING = "ring"
    """As long as what they see, used in turn."""


class Activations(enum.StrEnum):
    """What a GPU computes with, between the weights."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"


class OutputFormat(enum.StrEnum):
    """The format of the output."""

    LITERTLM = "litertlm"
    """One file for LiteRT-LM."""
    ONNX = "onnx"
    """A folder of models for ONNX Runtime."""


@dataclass(frozen=True)
class ExportOptions:
    """What the user chose about a bundle.

    ``chat_template`` is a file with a template for the engine, instead of the checkpoint's.
    ``cache_length`` and ``prefill_lengths`` of None are chosen to suit the model. With
    ``fixed_cache_length`` whoever loads the bundle cannot choose another. ``calibration`` is a text
    file, for recipes and caches that need one. ``kv_dtype`` is float32 or int8.
    """

    recipe: Recipe
    cache_length: int | None = None
    prefill_lengths: tuple[int, ...] | None = None
    draft_length: int = DEFAULT_DRAFT_LENGTH
    drafter_head: HeadKind | None = None
    batch: int = 1
    chat_template: Path | None = None
    format: OutputFormat = OutputFormat.LITERTLM
    calibration: Path | None = None
    accelerator: Accelerator = Accelerator.CPU
    activations: Activations | None = None
    """What a bundle for the GPU asks the engine to compute with; None: the engine's choice, float16."""
    kv_dtype: Dtype = Dtype.FLOAT32
    force: bool = False
    fresh_graphs: bool = False
    fixed_cache_length: bool = False
    sliding_cache: SlidingCache = SlidingCache.FULL
    rewind_tokens: int = 0
    """How far a conversation can be taken back where sliding caches are rings; full ones allow any."""

    requantize: bool = False
    """Whether the recipe decides about weights, too, that have codes from their training."""

    vision: bool = True
    """Whether a vision tower, if there is one, becomes part of the bundle."""
    image_tokens: tuple[int, ...] | None = None
    """Soft tokens that a picture may become; None: as many as in Google's bundles."""
    audio: bool = True
    """Whether an audio tower, if there is one, becomes part of the bundle."""
    audio_seconds: int | None = None
    """Of the longest clip that is encoded at once; None: as long as the checkpoint's processor allows."""

    @property
    def reads_text(self) -> bool:
        """Whether the models are run over a text: for codes (GPTQ), or for the scales of int8 caches."""
        return self.recipe.calibrated or self.kv_dtype is Dtype.INT8
