"""What the engine asks of an audio tower: signature names, tensor names, shapes, types, written once.

Axes: F frames of sound, M mel bins, T soft tokens that they become, D the width of the tower's output, H the
text model's. The engine makes frames of a clip, cuts them into pieces of F, runs the encoder's only
signature on each, and hands what comes out to the adapter; shapes are static, and what is left over is
padding.

Source: LiteRT-LM's audio executor (``audio_litert_compiled_model_executor``).
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.contract.names import EMBEDDINGS, MASK, Dtype, Section, SignatureSpec, TensorSpec
from exporter.contract.vision import FEATURES

ENCODER = "audio"
ADAPTER = "audio_adapter"
"""Signatures; the engine takes the only one of a section, whatever its name."""
END = "end_of_audio"

FRAMES = "src_inputs"
"""float32 ``[1, F, M]``; logarithms of mel energies."""


@dataclass(frozen=True)
class AudioContract:
    """Everything that crosses the boundary of the graphs for sound."""

    frames: int
    """F, of the longest clip that is encoded at once."""
    mel_bins: int
    """M."""
    frames_per_token: int
    frames_per_second: int
    width: int
    """D."""
    hidden_size: int
    """H."""

    @property
    def tokens(self) -> int:
        """T."""
        return self.frames // self.frames_per_token

    @property
    def seconds(self) -> float:
        """Of the longest clip that is encoded at once."""
        return self.frames / self.frames_per_second

    def encoder_signature(self) -> SignatureSpec:
        """Frames of a clip to soft tokens; those of the clip come first, ``mask`` says how many."""
        return SignatureSpec(
            inputs={
                FRAMES: TensorSpec((1, self.frames, self.mel_bins)),
                MASK: TensorSpec((1, self.frames), Dtype.BOOL),
            },
            outputs={
                FEATURES: TensorSpec((1, self.tokens, self.width)),
                MASK: TensorSpec((1, self.tokens), Dtype.BOOL),
            },
        )

    def adapter_signature(self) -> SignatureSpec:
        """Soft tokens to embeddings of the text model."""
        return SignatureSpec(
            inputs=self.encoder_signature().outputs,
            outputs={EMBEDDINGS: TensorSpec((1, self.tokens, self.hidden_size))},
        )

    def end_signature(self) -> SignatureSpec:
        """The embedding of the token that ends a clip: nothing in, a constant out."""
        return SignatureSpec({}, {EMBEDDINGS: TensorSpec((1, 1, self.hidden_size))})

    def section_signatures(self) -> dict[Section, dict[str, SignatureSpec]]:
        """Every section for sound with the signature it must hold."""
        return {
            Section.AUDIO_ENCODER: {ENCODER: self.encoder_signature()},
            Section.AUDIO_ADAPTER: {ADAPTER: self.adapter_signature()},
            Section.END_OF_AUDIO: {END: self.end_signature()},
        }
