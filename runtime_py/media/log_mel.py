"""Samples of sound as the frames that the audio encoder takes, as the stock engine makes them.

transformers' ``Gemma4AudioFeatureExtractor`` does the same but for two things. It makes no frame that ends
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
"""From 0 Hz to half the rate."""
FLOOR = np.float32(1e-3)
"""Is added before the logarithm is taken."""

AT_ONCE = 4096
"""Frames; the spectra of all would be much larger than what is made of them."""


def log_mel(samples: Floats) -> Floats:
    """Logarithms of mel magnitudes, ``[frames, 128]``.

    In front of the samples there are 160 zeros; a clip of fewer than 160 samples is one frame, filled up
    with zeros, and every longer one has as many frames as it has whole hops.

    Args:
        samples: ``[n]`` from -1 to 1, at :data:`RATE`.
    """
    behind = max(0, WINDOW - HOP - len(samples))
    padded = np.pad(samples.astype(np.float32), (HOP, behind))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    starts = range(0, len(frames), AT_ONCE)
    return np.concatenate([_log_mel(frames[start : start + AT_ONCE]) for start in starts])


def _log_mel(frames: Floats) -> Floats:
    magnitudes = np.abs(np.fft.rfft(frames * _HANN, FFT))
    found: Floats = np.log((magnitudes @ _FILTERS).astype(np.float32) + FLOOR)
    return found


def _filters() -> NDArray[np.float64]:
    """What each of the spectrum's magnitudes adds to each bin, ``[257, 128]``.

    On the HTK scale bins stand at equal distances; a magnitude counts for the two bins it lies between.
    """
    mels = np.log1p(np.linspace(0, RATE / 2, FFT // 2 + 1) / 700)
    places = mels / mels[-1] * (MEL_BINS + 1) - 1
    found: NDArray[np.float64] = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(MEL_BINS)))
    return found


_HANN = (0.5 - 0.5 * np.cos(2 * np.pi / WINDOW * np.arange(WINDOW))).astype(np.float32)
_FILTERS = _filters()
