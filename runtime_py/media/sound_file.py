"""A file of a sound as samples, as the stock engine makes them: 16 kHz, one channel.

The engine decodes, mixes and resamples with the C library miniaudio; here the Python package of that name
does. MP3s are an exception: the engine's older version keeps the silence that encoders put around the sound.
"""

from __future__ import annotations

import miniaudio
import numpy as np
from numpy.typing import NDArray

from runtime_py.chat.media import MediaError
from runtime_py.media.log_mel import RATE

Floats = NDArray[np.float32]

MOST_SAMPLES = 2**26
"""Of a clip once it is decoded: 70 minutes, 268 MB."""


def sound_samples(content: bytes) -> Floats:
    """The samples of a clip, ``[n]`` from -1 to 1.

    Args:
        content: Of a WAV, FLAC or MP3 that was looked at (:mod:`~runtime_py.chat.media_format`).

    Raises:
        MediaError: The content is damaged, or longer than :data:`MOST_SAMPLES`, or there is no sound in it.
    """
    try:
        length = _length(content)
    except Exception as error:  # what a damaged file makes the decoder raise is of several types
        raise MediaError(f"expected a sound that can be decoded ({error})") from error
    if not 0 < length <= MOST_SAMPLES:
        raise MediaError(
            f"expected a sound of at most {MOST_SAMPLES // RATE} seconds, found {length / RATE:g}"
        )
    samples = np.zeros(length, np.float32)
    heard = 0
    try:
        for piece in miniaudio.stream_memory(content, miniaudio.SampleFormat.FLOAT32, 1, RATE):
            some = np.frombuffer(piece, np.float32)[: length - heard]
            samples[heard : heard + len(some)] = some
            heard += len(some)
    except miniaudio.MiniaudioError as error:
        raise MediaError(f"expected a sound that can be decoded ({error})") from error
    if heard < length - 1:
        raise MediaError(f"expected a sound of {length} samples, found one that ends after {heard}")
    return samples


def _length(content: bytes) -> int:
    """How many samples a clip has at :data:`RATE`.

    As miniaudio foretells it: where the file's rate is a multiple of :data:`RATE` that is one too many, and
    the engine leaves a zero there.
    """
    reader = {b"RIFF": miniaudio.wav_get_info, b"fLaC": miniaudio.flac_get_info}
    found = reader.get(content[:4], miniaudio.mp3_get_info)(content)
    count, rate = int(found.num_frames), int(found.sample_rate)
    return count * RATE // rate + (rate > RATE and rate % RATE == 0)
