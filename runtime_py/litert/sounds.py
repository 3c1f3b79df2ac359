"""The graphs for sound of a bundle, compiled, behind calls on the frames of a clip.

How a file becomes frames is another module's business. Axes: F frames of the longest piece that is encoded at
once, M mel bins, T soft tokens, n of them a piece's own, D the tower's width, H the text model's. Source:
LiteRT-LM's audio executor, which cuts and pads as is done here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exporter.bundle.reader import Bundle
from exporter.bundle.stored_sound import stored_sound
from exporter.contract.audio import ADAPTER, ENCODER, END, FRAMES, AudioContract
from exporter.contract.names import EMBEDDINGS, MASK
from exporter.contract.vision import FEATURES
from exporter.errors import BundleError
from runtime_py.litert.hardware import Hardware
from runtime_py.litert.towers import Floats, TowerGraphs


def find_sound(bundle: Bundle) -> AudioContract | None:
    """What a bundle takes of sound; None where it takes none, or another tool made it.

    Raises:
        BundleError: Its manifest is damaged.
    """
    try:
        return stored_sound(bundle.manifest())
    except ValueError as error:
        raise BundleError(f"{bundle.path}: {error}") from error


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
        return np.concatenate([self.adapt(*self.encode(piece)) for piece in pieces])

    def encode(self, frames: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Features ``[T, D]`` of at most F frames, and which of them are the clip's own, ``[T]``.

        Raises:
            EngineError: LiteRT failed.
        """
        padded = np.zeros((self.contract.frames, self.contract.mel_bins), np.float32)
        padded[: len(frames)] = frames
        encoder = self.signatures[ENCODER]
        encoder.write(FRAMES, padded)
        encoder.write(MASK, np.arange(self.contract.frames) < len(frames))
        encoder.run()
        return encoder.output(FEATURES)[0].copy(), encoder.output(MASK)[0].astype(bool)

    def adapt(self, features: Floats, own: NDArray[np.bool_]) -> Floats:
        """Embeddings ``[n, H]`` for features ``[T, D]``, of which the first n are a clip's own.

        Raises:
            EngineError: LiteRT failed.
        """
        adapter = self.signatures[ADAPTER]
        adapter.write(FEATURES, features)
        adapter.write(MASK, own)
        adapter.run()
        embeddings: Floats = adapter.output(EMBEDDINGS)[0, : int(own.sum())].copy()
        return embeddings
