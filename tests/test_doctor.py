"""``mtp-export doctor``: what it says where all is there, and where a package is of another version."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.installation import PURPOSES
from exporter.pip_install import pip_install
from tests.bundles import ROOT


def doctor(*options: str, first_on_path: Path | None = None) -> str:
    path = [str(first_on_path)] if first_on_path else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, str(Path.cwd())])}
    command = [sys.executable, "-m", "exporter.cli.main", "doctor", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.slow
def test_where_everything_is_there() -> None:
    """As it is where the tests run; the engine has opened a bundle."""
    findings = {each["what"]: each for each in json.loads(doctor("--json"))}
    assert findings.keys() > set(PURPOSES.values())
    assert all(each["works"] for each in findings.values()), findings
    assert findings["the stock engine opens a bundle"]["found"] == "it rendered 'user'"


@pytest.mark.slow
@pytest.mark.parametrize(("version", "told"), [("5.23.0", "not ok"), ("5.24.1", "ok    ")])
def test_a_version_that_was_not_tested(version: str, told: str, tmp_path: Path) -> None:
    """Python finds this version first, and transformers 5.23.0 is excluded by name."""
    described = tmp_path / f"transformers-{version}.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: transformers\nVersion: {version}\n"
    )
    said = doctor(first_on_path=tmp_path)
    (line,) = (line for line in said.splitlines() if PURPOSES["reference"] in line)
    assert line.startswith(told)
    assert f"transformers{':' if told == 'not ok' else ''} {version}" in line
    assert (f"to fix that: {pip_install('reference')}" in said) is (told == "not ok")


def test_the_version_where_the_package_is_not_installed(tmp_path: Path) -> None:
    """Its code alone is on the path, as in a copied folder; ``-S`` hides what is installed."""
    package = tmp_path / "exporter"
    package.mkdir()
    for name in ("__init__.py", "pip_install.py", "version.py"):
        shutil.copy(ROOT / "exporter" / name, package)
    code = "from exporter.version import tool_version; print(tool_version())"
    command = [sys.executable, "-S", "-c", code]  # which finds the package in the folder it runs in
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("unknown\n", "")
