"""The clips that the rungs run on: drawn here, at the rate that nothing resamples.

One fills the graph and one leaves padding, in the middle of the four frames that become one soft token: even
zeros show there where padding is heard. What is asked about is a short clip and one that has to be cut into
pieces.
"""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.contract.audio import ADAPTER, ENCODER, AudioContract
from exporter.verify.tower_input import TowerInput
from runtime_py.litert.sounds import padded_frames
from runtime_py.litert.towers import Floats
from runtime_py.media.log_mel import HOP, RATE, log_mel

Samples = NDArray[np.int16]

LARGEST = 32768
"""Of samples: what decoders divide by."""


@dataclass(frozen=True)
class SampleSound:
    """A clip of 16 kHz, one channel."""

    samples: Samples  # [n]

    @property
    def frames(self) -> Floats:
        """Logarithms of mel energies ``[F, M]``, as the engine makes them."""
        return log_mel((self.samples / np.float32(LARGEST)).astype(np.float32))

    def pieces(self, contract: AudioContract) -> tuple[TowerInput, ...]:
        """As the engine cuts it."""
        frames, longest = self.frames, contract.frames
        cut = [frames[at : at + longest] for at in range(0, len(frames), longest)]
        where = f"{longest} frames"
        return tuple(
            TowerInput(where, ENCODER, ADAPTER, padded_frames(piece, contract), len(piece))
            for piece in cut
        )

    def wav(self) -> bytes:
        """The clip as a file."""
        stream = io.BytesIO()
        with wave.open(stream, "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(self.samples.astype("<i2").tobytes())
        return stream.getvalue()


def sample_sounds(contract: AudioContract) -> tuple[SampleSound, ...]:
    """A clip that fills the graph, and one that leaves padding."""
    return drawn(contract.frames), drawn(_part(contract))


def asked_sounds(contract: AudioContract) -> tuple[SampleSound, ...]:
    """A short clip, and one that is cut in two."""
    return drawn(_part(contract)), drawn(contract.frames + _part(contract))


def _part(contract: AudioContract) -> int:
    """About a third of a graph's frames, half of a soft token's among them."""
    whole = contract.frames // 3 // contract.frames_per_token
    return whole * contract.frames_per_token + contract.frames_per_token // 2


def drawn(frames: int) -> SampleSound:
    """Tones that rise through noise that swells; every frame is unlike the one before."""
    count = frames * HOP
    seconds = np.arange(count) / RATE
    rising = np.sin(2 * np.pi * seconds * (300 + 2000 * seconds / seconds[-1]))
    noise = np.random.default_rng(frames).uniform(-1, 1, count)
    swelling = np.sin(9 * seconds) ** 2
    samples = 0.2 * rising * (1 - swelling) + 0.3 * noise * swelling
    return SampleSound((samples * (LARGEST - 1)).astype(np.int16))
