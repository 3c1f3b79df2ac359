"""Documents: links lead somewhere, pages can be found, and docs/commands.md is what the commands say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_pages import page

from exporter.cli.main import COMMANDS
from tests.bundles import ROOT
from tests.command import run

DOCS = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *DOCS, ROOT / "checkpoints" / "tiny" / "README.md"]


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
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


def test_no_document_installs_the_tool_from_an_index() -> None:
    """It is on none: from a clone, or from a wheel."""
    assert not [path.name for path in DOCUMENTS if "pip install 'mtp-export" in path.read_text()]
