"""A file of a sound as samples, as the stock engine makes them: 16 kHz, one channel.

The engine decodes, mixes and resamples with the C library miniaudio; here the Python package of that name
does. One thing differs: of an MP3 that says how much silence its encoder put around the sound, the engine's
older version keeps that silence.
"""

from __future__ import annotations

import miniaudio
import numpy as np
from numpy.typing import NDArray

from runtime_py.chat.media import MediaError
from runtime_py.media.log_mel import RATE

Floats = NDArray[np.float32]

MOST_SECONDS = 2**26 // RATE
"""The longest sound that is decoded: 70 minutes, which are 268 MB of samples."""


def sound_samples(content: bytes) -> Floats:
    """The samples of a sound, ``[n]`` from -1 to 1, at least one.

    Args:
        content: Of a WAV, FLAC or MP3 that was looked at (:mod:`~runtime_py.chat.media_format`).

    Raises:
        MediaError: The content is damaged, or empty, or longer than :data:`MOST_SECONDS`.
    """
    try:
        length = _length(content)
        if length > MOST_SECONDS * RATE:
            raise MediaError(
                f"expected a sound of at most {MOST_SECONDS} seconds, found {length / RATE:.0f}"
            )
        samples, heard = _decoded(content, length)
    except (
        miniaudio.MiniaudioError,
        ZeroDivisionError,  # a rate of 0, which miniaudio's Python part divides by
    ) as error:
        raise MediaError(f"expected a WAV, FLAC or MP3 that can be decoded ({error})") from error
    if not length or heard < length - 1:  # `_length` may count one sample too many
        raise MediaError(f"expected a sound of {length or 'some'} samples, found {heard} of them")
    return samples


def _length(content: bytes) -> int:
    """How many samples a file has at :data:`RATE`.

    As miniaudio foretells it: where the file's rate is a multiple of :data:`RATE` that is one too many, and
    the engine leaves a zero there.
    """
    readers = {b"RIFF": miniaudio.wav_get_info, b"fLaC": miniaudio.flac_get_info}
    found = readers.get(content[:4], miniaudio.mp3_get_info)(content)
    count, rate = int(found.num_frames), int(found.sample_rate)
    return count * RATE // rate + (count > 0 and rate > RATE and rate % RATE == 0)


def _decoded(content: bytes, length: int) -> tuple[Floats, int]:
    """``length`` samples, zeros where the file ends before, and how many the file has."""
    samples, heard = np.zeros(length, np.float32), 0
    for piece in miniaudio.stream_memory(content, miniaudio.SampleFormat.FLOAT32, 1, RATE):
        some = np.frombuffer(piece, np.float32)[: length - heard]
        samples[heard : heard + len(some)] = some
        heard += len(some)
    return samples, heard
