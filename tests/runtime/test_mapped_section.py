"""Regions of a file as an array: what is in it, how long it lasts, and what it costs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from exporter.bundle.reader import open_bundle
from runtime_py.litert.mapped_section import FileRegion, MappedSection, can_map

needs_mapping = pytest.mark.skipif(not can_map(), reason="nothing is mapped on this system")


@pytest.fixture(scope="module")
def bundle(tiny_bundles: dict[str, Path]) -> Path:
    return tiny_bundles["int8"]


def test_a_mapped_section_is_the_files_bytes(bundle: Path) -> None:
    opened = open_bundle(bundle)
    for entry in opened.sections:
        section = MappedSection(bundle, FileRegion(entry.begin, entry.nbytes))
        assert section.content.tobytes() == opened.read(entry)


def test_a_region_off_the_page_boundary_is_read(bundle: Path) -> None:
    section = MappedSection(bundle, FileRegion(8, 100))
    assert not section.mapped
    assert section.content.tobytes() == bundle.read_bytes()[8:108]


def test_regions_stand_side_by_side(tmp_path: Path) -> None:
    """Mapped or read, zeros between them."""
    content = np.random.default_rng(0).integers(0, 256, 40_000, np.uint8).tobytes()
    file, page = tmp_path / "file", 1 << 14
    file.write_bytes(content)
    for begin in (page, 8):
        section = MappedSection(
            file,
            FileRegion(2 * page, 100),
            FileRegion(begin, 5000, page),
            FileRegion(0, 7, 2 * page),
        )
        assert section.mapped == (can_map() and begin == page)
        found = section.content.tobytes()
        assert found[:100] == content[2 * page :][:100]
        assert found[page:][:5000] == content[begin:][:5000]
        assert found[2 * page :] == content[:7]


@needs_mapping
def test_a_section_larger_than_memory(tmp_path: Path) -> None:
    """Address space alone: a system that promises no more memory than it has agrees to it."""
    nbytes = 4 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    file = tmp_path / "sparse"
    with file.open("wb") as stream:
        stream.truncate(nbytes)
    section = MappedSection(file, FileRegion(0, nbytes))
    assert section.mapped
    section.edit(5, lambda head: head.__setitem__(slice(0, 5), b"begin"))
    assert section.content[:5].tobytes() == b"begin"
    assert section.content[nbytes - 1] == 0
    assert file.open("rb").read(5) == bytes(5)


@needs_mapping
def test_a_file_that_cannot_be_mapped_is_read() -> None:
    version = Path("/proc/version")
    section = MappedSection(version, FileRegion(0, 12))
    assert not section.mapped
    assert section.content.tobytes() == version.read_bytes()[:12]


@needs_mapping
def test_the_contents_last_as_long_as_someone_has_them(bundle: Path, tmp_path: Path) -> None:
    own = Path(shutil.copy(bundle, tmp_path))  # which no other test has mapped

    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count(str(own))

    section = MappedSection(own, FileRegion(0, 1 << 16))
    held = section.content[10:20]
    del section
    assert mappings() == 1
    assert held.tobytes() == own.read_bytes()[10:20]
    del held
    assert mappings() == 0
