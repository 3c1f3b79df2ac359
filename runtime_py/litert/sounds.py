"""The graphs for sound of a bundle, compiled, behind calls on the frames of a clip.

How a file becomes frames is another module's business. Axes: F frames of the longest piece that is encoded at
once, M mel bins, T soft tokens, n of them a piece's own, D the tower's width, H the text model's. Source:
LiteRT-LM's audio executor, which cuts and pads as is done here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.bundle.reader import Bundle
from exporter.bundle.stored_sound import stored_sound
from exporter.contract.audio import ADAPTER, ENCODER, END, FRAMES, AudioContract
from exporter.contract.names import MASK
from runtime_py.litert.hardware import Hardware
from runtime_py.litert.towers import Floats, TowerGraphs, stated


def find_sound(bundle: Bundle) -> AudioContract | None:
    """What a bundle takes of sound; None where it takes none, or another tool made it.

    Raises:
        BundleError: Its manifest is damaged.
    """
    return stated(bundle, stored_sound)


class SoundGraphs(TowerGraphs):
    """Runs the sections for sound; close it when done.

    Args:
        bundle: Its header.
        contract: What it takes of sound, from :func:`find_sound`.
        hardware: Where to run.

    Raises:
        BundleError: The graphs are not what the contract says, or LiteRT refuses them.
        EngineError: There is no such device.
        OutputError: There can be no folder for packed weights.
    """

    def __init__(self, bundle: Bundle, contract: AudioContract, hardware: Hardware) -> None:
        self.contract = contract
        super().__init__(bundle, contract.section_signatures(), END, hardware)

    def soft_tokens(self, frames: Floats) -> Floats:
        """What stands for a clip among the embeddings of a text, ``[n, H]``.

        Args:
            frames: ``[any, M]``, at least one. More than F are cut into pieces, each encoded by itself.

        Raises:
            EngineError: LiteRT failed.
        """
        longest = self.contract.frames
        pieces = (frames[at : at + longest] for at in range(0, len(frames), longest))
        return np.concatenate([self.adapt(self.encode(piece)) for piece in pieces])

    def encode(self, frames: Floats) -> Floats:
        """Features ``[n, D]`` of at most F frames.

        Raises:
            EngineError: LiteRT failed.
        """
        return self.encode_inputs(ENCODER, padded_frames(frames, self.contract))

    def adapt(self, features: Floats) -> Floats:
        """Embeddings ``[n, H]`` for features ``[n, D]``.

        Raises:
            EngineError: LiteRT failed.
        """
        return self.adapt_features(ADAPTER, features)


def padded_frames(frames: Floats, contract: AudioContract) -> dict[str, NDArray[Any]]:
    """What the encoder is given for at most F frames: zeros behind them, and a mask."""
    padded = np.zeros((contract.frames, contract.mel_bins), np.float32)
    padded[: len(frames)] = frames
    return {FRAMES: padded, MASK: np.arange(contract.frames) < len(frames)}
