"""What the engine asks of a vision tower: signature names, tensor names, shapes, types, written once.

Axes: P patches of a picture, T soft tokens that they become, D the tower's width, H the text model's. The
engine cuts a picture into patches, runs the smallest signature that takes them all, and hands what comes
out to the adapter's signature of as many tokens; shapes are static, and what is left over is padding.

Source: LiteRT-LM's vision executor (``litert_compiled_model_vision_executor``).
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.contract.names import EMBEDDINGS, MASK, Dtype, Section, SignatureSpec, TensorSpec

ENCODER_PREFIX = "vision_"
ADAPTER_PREFIX = "vision_adapter_"
"""Of signatures; the number of soft tokens follows."""
END = "end_of_vision"

IMAGES = "images"
"""float32 ``[1, P, 3 * p * p]`` from 0 to 1; zeros where there is no patch."""
POSITIONS = "positions_xy"
"""int32 ``[1, P, 2]``, x before y; -1 where there is no patch."""
FEATURES = "features"

DEFAULT_IMAGE_TOKENS = (70, 140, 280)
"""Budgets of Google's own bundles."""


@dataclass(frozen=True)
class VisionContract:
    """Everything that crosses the boundary of the graphs for pictures."""

    image_tokens: tuple[int, ...]
    """Soft tokens of each signature, the fewest first."""
    patch_size: int
    pooling: int
    width: int
    """D."""
    hidden_size: int
    """H."""

    @property
    def max_patches(self) -> int:
        """Patches of the largest picture."""
        return self.image_tokens[-1] * self.pooling**2

    def encoder_signature(self, tokens: int) -> SignatureSpec:
        """Patches of a picture to soft tokens; those of the picture come first, ``mask`` says how many."""
        patches = tokens * self.pooling**2
        return SignatureSpec(
            inputs={
                IMAGES: TensorSpec((1, patches, 3 * self.patch_size**2)),
                POSITIONS: TensorSpec((1, patches, 2), Dtype.INT32),
            },
            outputs={
                FEATURES: TensorSpec((1, tokens, self.width)),
                MASK: TensorSpec((1, tokens), Dtype.BOOL),
            },
        )

    def adapter_signature(self, tokens: int) -> SignatureSpec:
        """Soft tokens to embeddings of the text model."""
        return SignatureSpec(
            inputs={FEATURES: TensorSpec((1, tokens, self.width))},
            outputs={EMBEDDINGS: TensorSpec((1, tokens, self.hidden_size))},
        )

    def end_signature(self) -> SignatureSpec:
        """The embedding of the token that ends a picture: nothing in, a constant out."""
        return SignatureSpec({}, {EMBEDDINGS: TensorSpec((1, 1, self.hidden_size))})

    def section_signatures(self) -> dict[Section, dict[str, SignatureSpec]]:
        """Every section for pictures with the signatures it must hold."""
        tokens = self.image_tokens
        return {
            Section.VISION_ENCODER: {
                f"{ENCODER_PREFIX}{count}": self.encoder_signature(count) for count in tokens
            },
            Section.VISION_ADAPTER: {
                f"{ADAPTER_PREFIX}{count}": self.adapter_signature(count) for count in tokens
            },
            Section.END_OF_VISION: {END: self.end_signature()},
        }
