"""What a Gemma 4 vision tower is made of, as a frozen value.

Graphs are made from it, as those of the text model are made from ``exporter.checkpoints.architecture``.
E2B and E4B have the same tower, so their encoders are the same graph.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VisionConfig:
    """A stack of layers over the patches of one picture, and how pictures are cut into patches."""

    hidden_size: int
    layer_count: int
    heads: int
    head_dim: int
    mlp_width: int
    rms_norm_eps: float
    rope_theta: float
    patch_size: int
    """Pixels along a side of a patch."""
    pooling: int
    """Patches along a side of the square that becomes one soft token."""
    position_count: int
    """Rows of the position table, for x and for y each: the longest side of a picture in patches."""
    clipped: bool
    """Whether inputs and outputs of the linear layers are clipped to ranges that the checkpoint has."""
    standardised: bool
    """Whether the checkpoint has a bias and a scale for the pooled features."""

    @property
    def patch_width(self) -> int:
        """Numbers of one patch: red, green and blue of every pixel."""
        return 3 * self.patch_size**2

    @property
    def patches_per_token(self) -> int:
        return self.pooling**2
