"""Documents: links, commands, options and files exist, and docs/commands.md is what the commands say."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from command_pages import page

from exporter.cli.main import COMMANDS, cli
from tests.bundles import ROOT
from tests.command import run

DOCS = sorted((ROOT / "docs").glob("*.md"))
READMES = [ROOT / folder / "README.md" for folder in ("android_sample", "checkpoints/tiny")]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *DOCS, *READMES]
FOLDERS = (
    "android_sample",
    "checkpoints",
    "docs",
    "exporter",
    "quantize",
    "runtime_py",
    "scripts",
    "tests",
)


def without_code(path: Path) -> str:
    return re.sub(
        r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )


def anchors(path: Path) -> set[str]:
    """Of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", without_code(path), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def links(path: Path) -> Iterator[tuple[Path, str]]:
    """Files that a document links to, with the heading in them, if any."""
    text = re.sub(r"`[^`]*`", "", without_code(path))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"\w+:", link):
            file, _, heading = link.partition("#")
            yield (path.parent / file).resolve() if file else path, heading


def command_lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Commands of this tool that a document shows, and the options that it gives them."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for name, rest in re.findall(r"mtp-export ([a-z][a-z-]+)([^`\n#|;>]*)", text):
        yield name, re.findall(r"(?<=[\s\[])--?[a-z][a-z-]*", rest)


@cache
def options(name: str) -> set[str]:
    group = click.Context(cli, **cli.context_settings)
    command = cli.get_command(group, name)
    assert command is not None, name
    parameters = command.get_params(click.Context(command, group))
    return {option for each in parameters for option in (*each.opts, *each.secondary_opts)}


@cache
def files() -> list[str]:
    return [f"/{file.relative_to(ROOT)}" for each in FOLDERS for file in (ROOT / each).rglob("*.*")]


EACH = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@EACH
def test_commands_and_options_exist(document: Path) -> None:
    unknown = [(name, set(given) - options(name)) for name, given in command_lines(document)]
    assert not [each for each in unknown if each[1]]


@EACH
def test_files_that_are_named_exist(document: Path) -> None:
    """Paths may begin below a package; of Kotlin's long paths documents name the ends."""
    text = document.read_text(encoding="utf-8")
    named = set(re.findall(r"(?<=`)[\w-]+(?:/[\w-]+)*/[\w-]+\.(?:py|sh|kt|jinja)(?=[:`])", text))
    found = {name.rpartition("/")[2] if name.endswith(".kt") else name for name in named}
    assert not [name for name in found if not any(file.endswith(f"/{name}") for file in files())]


@EACH
def test_links_lead_somewhere(document: Path) -> None:
    found = list(links(document))
    assert not [str(file) for file, _ in found if not file.exists()]
    assert not [(file.name, name) for file, name in found if name and name not in anchors(file)]


def test_every_page_is_in_the_index() -> None:
    index = {file for file, _ in links(ROOT / "docs" / "README.md")}
    assert set(DOCS) - index == {ROOT / "docs" / "README.md"}


def test_what_the_commands_say_is_written_down() -> None:
    """After an option has changed: python scripts/command_pages.py."""
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == page()


def test_documents_that_help_names_exist() -> None:
    said = "".join(run(command, "--help").stdout for command in COMMANDS) + run("recipes").stdout
    named = set(re.findall(r"docs/[\w-]+\.md", said))
    assert len(named) > 5
    assert not [name for name in named if not (ROOT / name).is_file()]


@pytest.mark.slow
def test_the_files_that_open_a_bundle(tiny_bundles: dict[str, Path]) -> None:
    """The list in docs/architecture.md, by the program that stands below it."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    code = code.replace("build/tiny-int8.litertlm", str(tiny_bundles["int8"]))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    section = text.split("### Opening a bundle")[1].split("###")[0]
    listed = re.findall(r"^\d+\. `([\w/]+\.py)`", section, re.MULTILINE)
    assert sorted(line.removeprefix(f"{ROOT}/") for line in done.stdout.split()) == sorted(listed)
    assert f"| opening a bundle | 23 | {len(listed)} |" in text


def test_no_document_installs_the_tool_from_an_index() -> None:
    """It is on none: from a clone, or from a wheel."""
    assert not [path.name for path in DOCUMENTS if "pip install 'mtp-export" in path.read_text()]
