"""Sounds in the reference runtime: the stock engine's answers, and what becomes of a file."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.errors import BundleError, EngineError
from exporter.pip_install import pip_install
from runtime_py.chat.media import MediaError, Medium
from runtime_py.media.log_mel import FILTERS, FLOOR, log_mel, magnitudes, windows
from runtime_py.media.sound_file import MOST_SECONDS, sound_samples
from runtime_py.opened_model import OpenedModel, open_model
from tests.audio.bundles import HERD, NOISES, save
from tests.audio.conftest import Golden
from tests.command import run, run_without
from tests.export.command import refused
from tests.vision.asking import HARDWARE, SLOTS, in_engine, in_reference, prompt_lengths

HERE = Path(__file__).parent
DRAFTS = (0, 3)

FLAC, MP3 = HERE / "middle.flac", HERE / "high.mp3"
"""Tones of :data:`~tests.audio.targets.TONES`, written by libsndfile."""

SHORT = (1, 80, 159, 160, 161, 640, 3200)
"""Samples around and at multiples of 160, where the engine's frames are one more than transformers'."""
PIECES = (32_000, 32_160, 64_000)
"""One piece, one and a frame, two."""
RATES = {8000: 7000, 22_050: 33_000, 44_100: 8821, 48_000: 4799, 96_000: 95_999}
"""Samples a second, and how many there are, in stereo. The engine foretells 1600 samples at 16 kHz for the
fourth, and only 1599 and a half are there."""


@pytest.fixture(scope="module")
def planted(planted_bundle: Path) -> Iterator[OpenedModel]:
    with open_model(planted_bundle, HARDWARE, cache_length=SLOTS, media=list(Medium)) as model:
        yield model


@pytest.mark.parametrize("drafts", DRAFTS)
def test_answers_are_the_engines(
    planted_bundle: Path, planted: OpenedModel, clips: Path, drafts: int
) -> None:
    """Every kind of file, beside a picture, and in the history; prompts have as many tokens."""
    asked: list[Any] = [
        [["What does the", clips / f"{tone}{kind}.wav", " eat?"]]
        for tone in HERD
        for kind in ("", "-stereo")
    ]
    low, high, red = (clips / file for file in ("low.wav", "high.wav", "red.png"))
    asked += [
        [["What does the", FLAC, " eat?"]],
        [["What does the", MP3, " eat?"]],
        [[red, "What does the", low, " eat?"]],
        [[low, "What does the", red, " eat?"]],
        [["What does the", low, " eat?"], "It eats berries.", ["What does the", high, " eat?"]],
    ]
    expected = in_engine(planted_bundle, "on" if drafts else "off", asked)
    found = in_reference(planted, drafts, asked)
    assert found.texts == expected.texts
    assert len(set(expected.texts)) == len(HERD)
    assert prompt_lengths(found) == prompt_lengths(expected)


def test_answers_about_details_are_the_engines(
    random_pair: tuple[Path, Path], clips: Path, tmp_path: Path
) -> None:
    """A random tower hears every frame, and what it hears moves every token of the answer."""
    _, bundle = random_pair
    heard = [clips / f"{name}.wav" for name in NOISES]
    for count, rate in (
        *((n, 16_000) for n in (*SHORT, *PIECES)),
        *((n, r) for r, n in RATES.items()),
    ):
        seconds = np.arange(count)[:, None] / rate
        noise = np.random.default_rng(count).uniform(-1, 1, (count, 1 if rate == 16_000 else 2))
        heard.append(tmp_path / f"{rate}-{count}.wav")
        save(heard[-1], 0.3 * np.sin(9 * seconds) ** 2 * noise, rate)
    asked: list[Any] = [[["What does the", clip, " eat?"]] for clip in heard]
    asked.append([["Where does the", heard[0], heard[2], " live?"]])
    expected = in_engine(bundle, "off", asked)
    with open_model(bundle, HARDWARE, cache_length=SLOTS, media=[Medium.AUDIO]) as model:
        for drafts in DRAFTS:
            found = in_reference(model, drafts, asked)
            assert found.texts == expected.texts
            assert prompt_lengths(found) == prompt_lengths(expected)
    assert len(set(expected.texts)) > 4


def test_a_model_opened_for_sounds_sees_nothing(planted_bundle: Path, clips: Path) -> None:
    with (
        open_model(planted_bundle, HARDWARE, cache_length=SLOTS, media=[Medium.AUDIO]) as model,
        pytest.raises(EngineError, match=r"opened without pictures: .* media=\[Medium.IMAGE\]"),
    ):
        in_reference(model, 0, [[["What does the", clips / "red.png", " eat?"]]])


def test_a_place_without_a_picture(planted: OpenedModel, clips: Path) -> None:
    with pytest.raises(EngineError, match=r"expected as many pictures as .* found 0 for 1 places"):
        in_reference(planted, 0, [[["Is <|image|> like", clips / "low.wav", "?"]]])


def test_a_file_that_cannot_be_decoded_is_named(planted: OpenedModel, tmp_path: Path) -> None:
    (tmp_path / "cut.flac").write_bytes(FLAC.read_bytes()[:300])
    with pytest.raises(MediaError, match=r"cut\.flac: expected a sound of 1280 samples"):
        in_reference(planted, 0, [[[tmp_path / "cut.flac", "?"]]])


def test_a_bundle_that_hears_nothing(tiny_bundles: dict[str, Path]) -> None:
    with (
        pytest.raises(BundleError, match="expected a bundle that takes sounds"),
        open_model(tiny_bundles["int8"], HARDWARE, media=[Medium.AUDIO]),
    ):
        pass


def test_generate_in_the_reference_runtime(planted_bundle: Path, clips: Path) -> None:
    asked = ["-p", "What does the<|audio|> eat?", "--audio", str(clips / "low.wav")]
    reference = [str(planted_bundle), *asked, "--runtime", "reference"]
    done = run("generate", *reference)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "The fox eats berries.\n"
    refused(run_without(("miniaudio",), "generate", *reference), f"{pip_install('audio')}")


EQUAL = 2e-5
"""Logarithms of float32 sums over a spectrum, in another order."""
CLOSE = 0.02
"""And with filters that differ by 0.0025 at most."""


@pytest.mark.slow
@pytest.mark.parametrize("count", [3333, 3200])
def test_frames_are_transformers_but_for_the_filters(audio_golden: Golden, count: int) -> None:
    samples, expected = audio_golden["samples"][:count], audio_golden[f"{count}.log_mel"]
    spectra = magnitudes(windows(samples))
    with_theirs = np.log(spectra @ audio_golden["filters"] + FLOOR)[: len(expected)]
    np.testing.assert_allclose(with_theirs, expected, rtol=0, atol=EQUAL)
    found = log_mel(samples)
    np.testing.assert_allclose(found[: len(expected)], expected, rtol=0, atol=CLOSE)
    assert len(found) == count // 160
    assert len(expected) == (count - 1) // 160


def test_filters_are_triangles_over_mels() -> None:
    """Bins 0 to 127 have their centres at equal distances; what lies between two is shared by them."""
    assert FILTERS.shape == (257, 128)
    places = 129 * np.log1p(np.arange(257) * 31.25 / 700) / np.log1p(8000 / 700) - 1
    between = (places > 0) & (places < 127)
    np.testing.assert_allclose(FILTERS[between].sum(1), 1)
    np.testing.assert_allclose(FILTERS[between] @ np.arange(128), places[between])
    assert ((FILTERS > 0).sum(1) <= 2).all()


@pytest.mark.parametrize(("count", "frames"), [(0, 1), (1, 1), (160, 1), (319, 1), (320, 2)])
def test_a_hop_is_a_frame(count: int, frames: int) -> None:
    assert log_mel(np.ones(count, np.float32)).shape == (frames, 128)


def test_long_sounds_are_computed_in_pieces() -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 160 * 5000).astype(np.float32)
    found = log_mel(samples)
    assert found.shape == (5000, 128)
    np.testing.assert_array_equal(found[4500:], log_mel(samples[160 * 4000 :])[500:])


def stored(frames: bytes, rate: int = 16_000, channels: int = 1, width: int = 2) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(frames)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (stored(np.array([-32768, 16384], "<i2").tobytes()), (-1, 0.5)),
        (stored(np.array([16384, -8192], "<i2").tobytes(), channels=2), (0.125,)),
        (stored(bytes([0, 255, 127]), width=1), (-1, 1, 127 / 127.5 - 1)),
        (stored(b"\0\0\x40", width=3), (0.5,)),
    ],
    ids=["16 bits", "stereo", "8 bits", "24 bits"],
)
def test_samples_are_from_minus_1_to_1(content: bytes, expected: tuple[float, ...]) -> None:
    np.testing.assert_allclose(sound_samples(content), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("rate", "count", "expected"),
    [(16_000, 555, 555), (8000, 1000, 2000), (44_100, 4001, 1451), (48_000, 4799, 1600)],
)
def test_sounds_are_resampled(rate: int, count: int, expected: int) -> None:
    """A constant stays one, once the filter has begun."""
    samples = sound_samples(stored(np.full(count, 8192, "<i2").tobytes(), rate))
    assert len(samples) == expected
    np.testing.assert_allclose(samples[100:-1], 0.25, atol=1e-3)


def flac_of(count: int) -> bytes:
    """A FLAC of a few bytes that says it has so many samples."""
    content = bytearray(FLAC.read_bytes())
    content[22:26] = count.to_bytes(4)  # the lower 32 bits of 36 in STREAMINFO
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"RIFF\0\0\0\0WAVE", "expected a WAV, FLAC or MP3 that can be decoded"),
        (b"fLaC" + bytes(99), "expected a WAV, FLAC or MP3 that can be decoded"),
        (b"\xff\xfb" + bytes(99), "expected a WAV, FLAC or MP3 that can be decoded"),
        (stored(b""), "expected a sound of some samples, found 0"),
        (FLAC.read_bytes()[:300], "expected a sound of 1280 samples, found 0"),
        (flac_of(2**31), f"expected a sound of at most {MOST_SECONDS} seconds, found 268435"),
        (flac_of(2**20), "expected a sound of 2097152 samples, found 1280"),
        (stored(bytes(2 * 4195), rate=1), f"at most {MOST_SECONDS} seconds, found 4195"),
    ],
    ids=["wav", "flac", "mp3", "empty", "cut", "long", "shorter", "slow"],
)
def test_sounds_that_are_refused(content: bytes, said: str) -> None:
    with pytest.raises(MediaError, match=said):
        sound_samples(content)
