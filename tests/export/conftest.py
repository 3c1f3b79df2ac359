"""Folders, copies of the tiny pair and a small disk."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import TINY_DRAFTER, TINY_TARGET


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for outputs."""
    made = tmp_path / "out"
    made.mkdir()
    return made


@pytest.fixture
def copies(tmp_path: Path) -> tuple[Path, Path]:
    """Copies of the tiny pair, to be damaged."""
    target, drafter = tmp_path / "my-target", tmp_path / "my-drafter"
    shutil.copytree(TINY_TARGET, target)
    shutil.copytree(TINY_DRAFTER, drafter)
    return target, drafter


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB; its free space is read as it is."""
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(mount)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"a small file system needs the right to mount one: {made.stderr.strip()}")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)  # noqa: S607
