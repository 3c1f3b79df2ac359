"""Results as text files: whole, or as they were before."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.cli.text_file import write_text
from exporter.errors import OutputError


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    for content in ("ä first", "second"):
        write_text(path, content, "report")
        assert path.read_text(encoding="utf-8") == content
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_is_replaced(dangling: bool, tmp_path: Path) -> None:
    """A file of the hub's cache, to which many links lead, must stay as it is."""
    link, file = tmp_path / "link.md", tmp_path / "file.md"
    if not dangling:
        file.write_text("precious")
    link.symlink_to(file)
    write_text(link, "text", "report")
    assert not link.is_symlink()
    assert link.read_text() == "text"
    assert file.exists() != dangling
    assert dangling or file.read_text() == "precious"


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full once half of it is written."""
    path = tmp_path / "recipe.json"
    path.write_text("before")
    real = Path.write_text

    def write_half(self: Path, content: str, encoding: str) -> int:
        real(self, content[: len(content) // 2], encoding)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", write_half)
    expected = r"recipe\.json: the recipe cannot be written: No space left on device"
    with pytest.raises(OutputError, match=expected):
        write_text(path, "after", "recipe")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("path", ["missing/report.md", "folder"])
def test_what_cannot_be_written_is_said(path: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="the report cannot be written"):
        write_text(tmp_path / path, "text", "report")
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]
