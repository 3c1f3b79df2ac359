"""The graphs for pictures of a bundle, compiled, behind calls on one picture.

How a file becomes patches is another module's business. Axes: P patches, T soft tokens, n of them a
picture's own, p a patch's side in pixels, D the tower's width, H the text model's. Source: LiteRT-LM's vision
executor, which picks signatures and pads as is done here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.bundle.reader import Bundle
from exporter.bundle.stored_pictures import stored_pictures
from exporter.contract.vision import (
    ADAPTER_PREFIX,
    ENCODER_PREFIX,
    END,
    IMAGES,
    POSITIONS,
    VisionContract,
)
from exporter.errors import EngineError
from runtime_py.litert.hardware import Hardware
from runtime_py.litert.towers import Floats, TowerGraphs, stated

PADDING = -1
"""Both coordinates of a patch that is padding."""


@dataclass(frozen=True)
class PicturePatches:
    """A picture as the encoder takes it, without padding."""

    colours: Floats
    """``[P, 3 * p * p]`` from 0 to 1, patches row by row; in each, rows of pixels, a pixel's colours last."""
    places: NDArray[np.int32]
    """``[P, 2]``, x before y."""

    def padded(self, patches: int) -> PicturePatches:
        """The picture followed by patches that are none, ``patches`` in all."""
        count = len(self.colours)
        colours = np.zeros((patches, self.colours.shape[1]), np.float32)
        places = np.full((patches, 2), PADDING, np.int32)
        colours[:count], places[:count] = self.colours, self.places
        return PicturePatches(colours, places)


def find_pictures(bundle: Bundle) -> VisionContract | None:
    """What a bundle takes of pictures; None where it takes none, or another tool made it.

    Raises:
        BundleError: Its manifest is damaged.
    """
    return stated(bundle, stored_pictures)


class PictureGraphs(TowerGraphs):
    """Runs the sections for pictures; close it when done.

    Args:
        bundle: Its header.
        contract: What it takes of pictures, from :func:`find_pictures`.
        hardware: Where to run.

    Raises:
        BundleError: The graphs are not what the contract says, or LiteRT refuses them.
        EngineError: There is no such device.
        OutputError: There can be no folder for packed weights.
    """

    def __init__(self, bundle: Bundle, contract: VisionContract, hardware: Hardware) -> None:
        self.contract = contract
        super().__init__(bundle, contract.section_signatures(), END, hardware)

    def tokens_for(self, patches: int) -> int:
        """The smallest number of soft tokens of a signature that takes so many patches.

        Raises:
            EngineError: None takes them.
        """
        for tokens in self.contract.image_tokens:
            if patches <= tokens * self.contract.pooling**2:
                return tokens
        raise EngineError(
            f"{self.where}: expected a picture of at most {self.contract.max_patches} patches, found "
            f"{patches}; make it smaller"
        )

    def soft_tokens(self, picture: PicturePatches) -> Floats:
        """What stands for a picture among the embeddings of a text, ``[n, H]``.

        Raises:
            EngineError: No signature takes so many patches, or LiteRT failed.
        """
        tokens = self.tokens_for(len(picture.colours))
        return self.adapt(self.encode(picture, tokens), tokens)

    def encode(self, picture: PicturePatches, tokens: int) -> Floats:
        """Features of the picture's own soft tokens, ``[n, D]``, by the signature for ``tokens``.

        Raises:
            EngineError: LiteRT failed.
        """
        padded = picture.padded(tokens * self.contract.pooling**2)
        inputs = {IMAGES: padded.colours, POSITIONS: padded.places}
        return self.encode_inputs(f"{ENCODER_PREFIX}{tokens}", inputs)

    def adapt(self, features: Floats, tokens: int) -> Floats:
        """Embeddings ``[n, H]`` for features ``[n, D]``, by the signature for ``tokens``.

        Raises:
            EngineError: LiteRT failed.
        """
        return self.adapt_features(f"{ADAPTER_PREFIX}{tokens}", features)
