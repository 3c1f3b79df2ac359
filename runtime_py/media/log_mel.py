"""Samples of sound as the frames that the audio encoder takes, as the stock engine makes them.

transformers' ``Gemma4AudioFeatureExtractor`` does as much but for two things. It makes no frame that ends
with the last sample, so it has one fewer where the number of samples is a multiple of the hop; and its
filters are triangles over hertz, the engine's are triangles over mels.

Source: LiteRT's ``support/preprocessor`` (``audio_preprocessor_utils``, ``mel_filterbank``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RATE = 16_000
"""Samples a second."""
WINDOW, HOP, FFT = 320, 160, 512
"""In samples: what a frame is made of, from one frame to the next, and what it is padded to."""
MEL_BINS = 128
"""Numbers that a frame becomes, from 0 Hz to half the rate."""
FLOOR = np.float32(1e-3)
"""What is added to every magnitude before its logarithm is taken."""

AT_ONCE = 4096
"""Frames whose spectra are in memory at a time; those of a long sound would be much larger than its mels."""


def log_mel(samples: Floats) -> Floats:
    """Logarithms of mel magnitudes, ``[frames, 128]``.

    Args:
        samples: ``[n]`` from -1 to 1, at :data:`RATE`.
    """
    found = windows(samples)
    pieces = (found[start : start + AT_ONCE] for start in range(0, len(found), AT_ONCE))
    mels = [(magnitudes(piece) @ FILTERS).astype(np.float32) for piece in pieces]
    frames: Floats = np.log(np.concatenate(mels) + FLOOR)
    return frames


def windows(samples: Floats) -> Floats:
    """The samples of each frame, ``[frames, 320]``; 160 zeros stand in front of the first.

    There are as many as there are whole hops, but at least one, filled up with zeros.
    """
    behind = max(0, WINDOW - HOP - len(samples))
    padded = np.pad(samples.astype(np.float32), (HOP, behind))
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]


def magnitudes(frames: Floats) -> Floats:
    """The spectra of frames ``[frames, 320]`` under a periodic Hann window, ``[frames, 257]``."""
    return np.abs(np.fft.rfft(frames * _HANN, FFT))


def _filters() -> NDArray[np.float64]:
    """On the HTK scale bins stand at equal distances; a magnitude counts for the two it lies between."""
    mels = np.log1p(np.linspace(0, RATE / 2, FFT // 2 + 1) / 700)
    places = mels / mels[-1] * (MEL_BINS + 1) - 1
    found: NDArray[np.float64] = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(MEL_BINS)))
    return found


_HANN = (0.5 - 0.5 * np.cos(2 * np.pi / WINDOW * np.arange(WINDOW))).astype(np.float32)
FILTERS = _filters()
"""How much of each magnitude of a spectrum goes into each bin, ``[257, 128]``."""
