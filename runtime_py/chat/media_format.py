"""What a file of a picture or a sound is, told from its first bytes; nothing is decoded here.

Files come from anywhere, and what decodes them sets no bounds: a PNG of a few kilobytes can say that it is
100,000 pixels wide. So formats are those that the engine reads, and pictures have a largest size.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

MOST_PIXELS = 2**30 // 12
"""The most pixels of a picture: 89 million, 268 MB once decoded. Pillow has the same limit, beyond which it
warns of a decompression bomb."""

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
PNG_HEADER = struct.Struct(">8s4x4sII")
"""The file's mark, then the first chunk: its name, width and height."""

FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG's markers of a segment that says how large the picture is."""
BARE = frozenset((0x01, *range(0xD0, 0xDA)))
"""JPEG's markers without a segment."""

SOUNDS = (b"fLaC", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xfa")
"""How FLAC and MP3 files begin."""


def check_picture(content: bytes) -> None:
    """Refuse what is not a PNG or a JPEG of a size that can be decoded.

    Raises:
        ValueError: Saying what was expected and what was found.
    """
    if content.startswith(PNG):
        size = _png_size(content)
    elif content.startswith(JPEG):
        size = _jpeg_size(content)
    else:
        raise ValueError(
            f"expected a PNG or JPEG, found {_first(content)}; convert it to one of these"
        )
    if size is None or not all(size):
        raise ValueError("expected a PNG or JPEG, found one that is damaged: it has no size")
    width, height = size
    if width * height > MOST_PIXELS:
        raise ValueError(
            f"expected a picture of at most {MOST_PIXELS} pixels, found {width} x {height}"
        )


def check_sound(content: bytes) -> None:
    """Refuse what is not a WAV, FLAC or MP3 file.

    Raises:
        ValueError: Saying what was expected and what was found.
    """
    wave = content[:4] == b"RIFF" and content[8:12] == b"WAVE"
    if not wave and not content.startswith(SOUNDS):
        raise ValueError(
            f"expected a WAV, FLAC or MP3 file, found {_first(content)}; convert it to one of these"
        )


def _png_size(content: bytes) -> tuple[int, int] | None:
    if len(content) < PNG_HEADER.size:
        return None
    _, name, width, height = PNG_HEADER.unpack_from(content)
    return (width, height) if name == b"IHDR" else None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    for marker, begin in _segments(content):
        if marker in FRAMES and begin + 7 <= len(content):
            height, width = struct.unpack_from(">HH", content, begin + 3)
            return width, height
    return None


def _segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Markers of a JPEG with where their segments begin, up to the first that is no marker."""
    at = len(JPEG)
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # marks may be preceded by any number of these
            at += 1
        elif marker in BARE:
            at += 2
        else:
            yield marker, at + 2
            at += 2 + int.from_bytes(content[at + 2 : at + 4])


def _first(content: bytes) -> str:
    return f"a file that begins with {content[:8]!r}" if content else "an empty file"
