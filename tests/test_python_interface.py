"""The Python interface: docs/python.md's script does what it says, and importing it costs nothing."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import exporter
from tests.bundles import ROOT

DOCUMENT = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
PACKAGES = ("exporter", "quantize", "runtime_py")


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


@pytest.mark.slow
def test_the_documented_script(tmp_path: Path) -> None:
    """Nothing but what it prints itself is printed, except by native libraries."""
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    script, printed = DOCUMENT.split("```python\n")[1].split("```")[0], DOCUMENT.split("```\n")[-2]
    done = python(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed
    assert "Storing weights" not in done.stderr  # what the command would show


def test_importing_it_imports_nothing_of_ours(tmp_path: Path) -> None:
    code = (
        "import sys; before = set(sys.modules); import exporter; dir(exporter)\n"
        "print([m for m in set(sys.modules) - before if m.startswith(('exporter.', 'numpy', 'click'))])"
    )
    assert python(code, tmp_path).stdout == "[]\n"


def test_every_name_is_there_and_documented() -> None:
    assert set(exporter.__all__) <= set(dir(exporter))
    for name in exporter.__all__:
        assert getattr(exporter, name).__name__ == name
        assert f"`{name}" in DOCUMENT, name
    with pytest.raises(AttributeError, match="no attribute 'exprot'"):
        exporter.exprot  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_its_types_are_in_the_wheel(package: str) -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "package-data"
    ]
    folder = Path(str(importlib.import_module(package).__file__)).parent
    assert (folder / "py.typed").is_file()
    assert data[package] == ["py.typed"]
