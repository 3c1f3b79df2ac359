"""What a Gemma 4 audio tower is made of, as a frozen value.

Graphs are made from it, as those of the text model are made from ``exporter.checkpoints.architecture``.
E2B and E4B have the same tower, so their encoders are the same graph.
"""

from __future__ import annotations

from dataclasses import dataclass

MEL_BINS = 128
"""Of a frame of sound: the engine makes no other number."""

FRAMES_PER_TOKEN = 4
"""Two convolutions of stride 2 make one soft token of four frames."""

FRAMES_PER_SECOND = 100
"""A frame begins every 160 samples of 16,000 a second."""


@dataclass(frozen=True)
class AudioConfig:
    """Two convolutions over the frames of a clip, and a stack of layers over the tokens that they leave."""

    hidden_size: int
    layer_count: int
    heads: int
    channels: tuple[int, int]
    """Of the two convolutions over time and frequency."""
    kernel: int
    """Tokens that the depthwise convolution of a layer sees, the latest one included."""
    window: int
    """Tokens that attention sees, the latest one included."""
    residual_weight: float
    """What the output of an MLP counts beside its input."""
    logit_cap: float
    gradient_clipping: float
    """The largest magnitude that goes into the norms of branches."""
    rms_norm_eps: float
    output_size: int
    """Width of the soft tokens that leave the tower."""
    clipped: bool
    """Whether inputs and outputs of the linear layers are clipped to ranges that the checkpoint has."""

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.heads

    @property
    def mlp_width(self) -> int:
        return 4 * self.hidden_size

    @property
    def subsampled_width(self) -> int:
        """Numbers of one token after the convolutions: frequencies times channels."""
        return MEL_BINS // FRAMES_PER_TOKEN * self.channels[1]
