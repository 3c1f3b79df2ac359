"""The text that every machine with Python has: the sources of its standard library.

Knows files and which of them are held out; does not know tokens.
"""

import sysconfig
import zlib
from collections.abc import Iterator
from pathlib import Path

_HELD_OUT_SHARE = 16  # one file in so many
_LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "encodings"}
_LONGEST = 400_000  # longer files are tables, not code


def _files() -> list[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    found = (path for path in root.rglob("*.py") if path.stat().st_size < _LONGEST)
    return sorted(path for path in found if not _LEFT_OUT & {*path.relative_to(root).parts})


def _is_held_out(path: Path) -> bool:
    return zlib.crc32(path.name.encode()) % _HELD_OUT_SHARE == 0


def sources(*, held_out: bool) -> Iterator[str]:
    """Texts of one side of the split, in order of their paths."""
    for path in _files():
        if _is_held_out(path) == held_out:
            yield path.read_text(encoding="utf-8", errors="replace")


def sample(*, held_out: bool, pieces: int, characters: int) -> str:
    """Pieces of whole lines from the middles of evenly chosen files, one after the other."""
    long_enough = [text for text in sources(held_out=held_out) if len(text) > 3 * characters]
    chosen = long_enough[:: max(1, len(long_enough) // pieces)][:pieces]
    return "".join(_middle(text, characters) for text in chosen)


def _middle(text: str, characters: int) -> str:
    start = text.index("\n", len(text) // 3) + 1
    end = text.find("\n", start + characters) + 1
    return text[start : end or len(text)]


def signatures(count: int) -> list[str]:
    """One-line prompts: held-out `def` and `class` lines."""
    lines = (line.strip() for text in sources(held_out=True) for line in text.splitlines())
    wanted = dict.fromkeys(
        line for line in lines if line.startswith(("def ", "class ")) and line.endswith(":")
    )
    every = list(wanted)
    return every[:: max(1, len(every) // count)][:count]
