"""The package as someone has it who never saw the clone: sdist, the wheel of it, and what that installs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable
from email.message import Message
from email.parser import Parser
from functools import partial
from pathlib import Path

import pytest

from exporter.bundle.inspection import inspect_bundle
from tests.bundles import ROOT, TINY_DRAFTER, TINY_TARGET
from tests.test_documents import DOCS

pytestmark = pytest.mark.slow

Command = Callable[..., str]

IN_THE_SOURCES = ("README.md", "LICENSE", "docs/commands.md", "exporter/report/page.css")


def finished(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the sdist of what git would commit, and the wheel made of it."""
    folder = tmp_path_factory.mktemp("package")
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, finished(*listed, cwd=ROOT).split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "android_sample/")):
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / "source" / name)
    build = "from setuptools import build_meta; build_meta.build_sdist('..')"
    finished(sys.executable, "-c", build, cwd=folder / "source", PYTHONPATH="")
    shutil.rmtree(folder / "source")
    pip = (sys.executable, "-m", "pip", "--quiet")
    (sources,) = folder.glob("*.tar.gz")
    finished(*pip, "wheel", "--no-deps", "--no-build-isolation", sources, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    installed = ("install", "--no-deps", "--ignore-installed", "--prefix", folder / "there", wheel)
    finished(*pip, *installed, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def packages(folder: Path) -> Path:
    scheme = sysconfig.get_path("purelib", "posix_prefix", {"base": str(folder / "there")})
    return Path(scheme)


@pytest.fixture(scope="module")
def command(folder: Path, packages: Path) -> Command:
    """``mtp-export`` as it was installed, in a folder that is not the clone's."""
    script = folder / "there" / "bin" / "mtp-export"
    return partial(finished, script, cwd=folder, PYTHONPATH=str(packages))


def test_the_sources_are_whole(folder: Path) -> None:
    (sources,) = folder.glob("*.tar.gz")
    with tarfile.open(sources) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names.issuperset(IN_THE_SOURCES)


def test_what_an_index_is_told(packages: Path) -> None:
    (described,) = packages.glob("mtp_export-*.dist-info")
    told: Message = Parser().parsestr((described / "METADATA").read_text(encoding="utf-8"))
    assert told["Requires-Python"] == ">=3.11"
    assert "Typing :: Typed" in told.get_all("Classifier", [])
    assert told["License-Expression"] == "Apache-2.0"


def test_it_runs_and_names_what_is_there(command: Command, folder: Path) -> None:
    assert command("--help").startswith("Usage: mtp-export")
    findings = {each["what"]: each for each in json.loads(command("doctor", "--json"))}
    documents = Path(findings["docs/"]["found"])
    assert documents.is_relative_to(folder)
    assert {file.name for file in documents.glob("*.md")} == {file.name for file in DOCS}


def test_it_exports(command: Command, folder: Path) -> None:
    output = folder / "tiny.litertlm"
    command("export", TINY_TARGET, TINY_DRAFTER, "-o", output)
    found = inspect_bundle(output)
    assert found.has_drafter
    assert found.problems == ()
    assert found.manifest is not None
    assert found.manifest["recipe"]["name"] == "mixed-clip"


def test_hints_name_the_wheel(packages: Path, folder: Path) -> None:
    """Its name is on no index."""
    code = "from exporter.pip_install import pip_install; print(pip_install('engine'))"
    said = finished(sys.executable, "-c", code, cwd=folder, PYTHONPATH=str(packages))
    (wheel,) = folder.glob("*.whl")
    assert said == f"pip install '{wheel}[engine]'\n"
