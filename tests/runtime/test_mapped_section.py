"""Regions of a file as ``bytes``: what is in them, how long they last, and what they cost."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from exporter.bundle.reader import open_bundle
from runtime_py.litert.mapped_section import FileRegion, MappedSection, can_map

needs_mapping = pytest.mark.skipif(not can_map(), reason="nothing is mapped by this interpreter")


@pytest.fixture(scope="module")
def bundle(tiny_bundles: dict[str, Path]) -> Path:
    return tiny_bundles["int8"]


def test_a_mapped_section_is_the_files_bytes(bundle: Path) -> None:
    opened = open_bundle(bundle)
    for entry in opened.sections:
        section = MappedSection(bundle, FileRegion(entry.begin, entry.nbytes))
        assert section.use(bytes.hex) == opened.read(entry).hex()
        section.close()


def test_a_region_off_the_page_boundary_is_read(bundle: Path) -> None:
    section = MappedSection(bundle, FileRegion(8, 100))
    assert not section.mapped
    assert section.use(bytes) == bundle.read_bytes()[8:108]


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
        found = bytes.fromhex(section.use(bytes.hex))  # a copy: a slice of all would be the mapping
        section.close()
        parts = (content[2 * page :][:100], content[begin:][:5000], content[:7])
        assert found[:100] == parts[0]
        assert found[page:][:5000] == parts[1]
        assert found[2 * page :] == parts[2]


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
    assert section.use(lambda content: (bytes(content[:5]), content[nbytes - 1])) == (b"begin", 0)
    section.close()


@needs_mapping
def test_a_file_that_cannot_be_mapped_is_read() -> None:
    version = Path("/proc/version")
    section = MappedSection(version, FileRegion(0, 12))
    assert not section.mapped
    assert section.use(bytes) == version.read_bytes()[:12]
    section.close()


def test_the_object_may_outlast_its_contents(bundle: Path) -> None:
    """Where regions are mapped, what is left is empty."""
    section = MappedSection(bundle, FileRegion(0, 1 << 16))
    held = section.use(lambda content: content)
    assert len(held) == 1 << 16
    section.close()
    assert held == (b"" if can_map() else bundle.read_bytes()[: 1 << 16])
    section.close()


def test_a_section_that_is_dropped(bundle: Path) -> None:
    """Without closing it; whoever has the address may go on reading."""
    code = (
        "import sys; from pathlib import Path\n"
        "from runtime_py.litert.mapped_section import FileRegion, MappedSection\n"
        "for _ in range(3): MappedSection(Path(sys.argv[1]), FileRegion(0, 1 << 16))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(bundle)], check=False)
    assert done.returncode == 0


class Half:
    """What a function has made of the contents when it fails."""


def test_a_failure_keeps_nothing_of_the_contents(bundle: Path) -> None:
    section, made = MappedSection(bundle, FileRegion(0, 1 << 16)), list[weakref.ref[Half]]()

    def fail(content: bytes) -> None:
        half = Half()
        made.append(weakref.ref(half))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as failure:
        section.use(fail)
    assert failure.value.__traceback__ is not None
    gc.collect()
    assert made[0]() is None
    section.close()
