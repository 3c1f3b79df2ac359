"""Files of pictures and sounds: what is taken, what is refused, and where they go in a prompt."""

from __future__ import annotations

import base64
import io
import os
import struct
import wave
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from runtime_py.chat.media import (
    MediaError,
    Medium,
    blob_part,
    content_of,
    file_part,
    with_media,
)
from runtime_py.chat.media_format import MOST_PIXELS, check_picture

IMAGE, AUDIO = Medium.IMAGE, Medium.AUDIO


def picture(form: str, width: int = 5, height: int = 3, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(stream, form, **options)
    return stream.getvalue()


def sound() -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as written:
        written.setparams((1, 2, 16000, 0, "NONE", ""))
        written.writeframes(bytes(320))
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        picture("png"),
        picture("jpeg"),
        picture("jpeg", progressive=True, exif=b"Exif\0\0" + bytes(30_000), comment=b"x" * 999),
    ],
    ids=["png", "jpeg", "progressive"],
)
def test_pictures_are_taken(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture"
    path.write_bytes(content)
    named = file_part(IMAGE, path)
    assert named == {"type": "image", "path": str(path)}
    held = blob_part(IMAGE, base64.b64encode(content).decode())
    assert content_of(named) == content_of(held) == content


def png_of(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is so large."""
    content = bytearray(picture("png"))
    content[16:24] = struct.pack(">II", width, height)
    return bytes(content)


def jpeg_of(width: int, height: int) -> bytes:
    content = bytearray(picture("jpeg"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize("header", [png_of, jpeg_of])
def test_a_picture_has_a_largest_size(header: Callable[[int, int], bytes]) -> None:
    side = 9459
    assert side**2 <= MOST_PIXELS < side * (side + 1)
    check_picture(header(side, side))
    with pytest.raises(ValueError, match=f"at most {MOST_PIXELS} pixels, found 9459 x 9460"):
        check_picture(header(side, side + 1))


@pytest.mark.parametrize(
    ("medium", "content", "said"),
    [
        (IMAGE, b"", "expected a PNG or JPEG, found an empty file"),
        (IMAGE, b"hello there", "found a file that begins with b'hello th'"),
        (IMAGE, picture("webp"), "expected a PNG or JPEG, found a file that begins with b'RIFF"),
        (IMAGE, picture("png")[:20], "damaged: it has no size"),
        (IMAGE, picture("jpeg")[:30], "damaged: it has no size"),
        (IMAGE, png_of(0, 7), "damaged: it has no size"),
        (IMAGE, b"\xff\xd8" + b"\xff\xe0\x00\x00" * 9, "damaged: it has no size"),
        (AUDIO, picture("png"), "expected a WAV, FLAC or MP3 file, found a file that begins with"),
        (AUDIO, picture("webp"), "expected a WAV, FLAC or MP3 file"),
    ],
)
def test_what_is_no_picture_or_sound(
    tmp_path: Path, medium: Medium, content: bytes, said: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=said) as refused:
        file_part(medium, path)
    assert str(refused.value).startswith(f"{path}: ")
    with pytest.raises(MediaError, match=said):
        blob_part(medium, base64.b64encode(content).decode())


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="No such file"):
        file_part(IMAGE, tmp_path / "none.png")
    with pytest.raises(MediaError, match="expected a file, found a folder, for a picture"):
        file_part(IMAGE, tmp_path)
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it: reading would wait for ever
    with pytest.raises(MediaError, match="expected a file, found a pipe, for a sound"):
        file_part(AUDIO, tmp_path / "pipe")
    with pytest.raises(MediaError, match="expected a picture in base64"):
        blob_part(IMAGE, "a picture")


def test_files_have_a_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(sound())
    assert file_part(AUDIO, path)["type"] == "audio"
    os.truncate(path, 2**40)  # without a byte on the disk
    with pytest.raises(MediaError, match="expected a sound of at most 67108864 bytes"):
        file_part(AUDIO, path)


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


A, B, S = ({"type": "image", "path": "a"}, {"type": "image", "path": "b"}, {"type": "audio"})
OLDER = (text("Is "), A, text(" older than"), B, text("?"))


@pytest.mark.parametrize(
    ("prompt", "parts", "expected"),
    [
        ("What?", [], "What?"),
        ("Which?", [A, B], (A, B, text("Which?"))),
        ("Is <|image|> older than<|image|>?", [A, B], OLDER),
        ("<|image|>and<|image|>", [A, B], (A, text("and"), B)),
        ("<|image|> sounds", [S, A], (S, A, text(" sounds"))),
        ("How<|audio|> looks", [A, S], (A, text("How"), S, text(" looks"))),
        ("", [A], (A,)),
    ],
)
def test_parts_go_in_front_or_in_their_places(
    prompt: str, parts: list[dict[str, str]], expected: object
) -> None:
    assert with_media(prompt, parts) == expected


@pytest.mark.parametrize("prompt", ["<|image|>", "<|image|><|image|><|image|>", "<|audio|>"])
def test_there_are_as_many_places_as_parts(prompt: str) -> None:
    for parts in ([A, B], []):
        with pytest.raises(MediaError, match=r"places <\|.*\|>, found \d for \d"):
            with_media(prompt, parts)
