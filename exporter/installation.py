"""What is installed of this package and its extras, and what installs the rest."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from exporter.pip_install import DISTRIBUTION, pip_install
from exporter.version import installed, tool_version

PURPOSES = {
    "": "inspect, recipes, exports whose graphs ship",
    "export": "hub ids, graphs that do not ship, GPTQ, int8 caches, tune",
    "engine": "the stock engine: generate, chat, compare, verify, bench",
    "runtime": "the reference runtime",
    "images": "pictures in the reference runtime",
    "audio": "sound in the reference runtime",
    "reference": "verify --target: transformers and PEFT",
    "onnx": "ONNX folders",
}
"""What each extra is for; the empty one is what everyone has."""


INSTALLED_DOCUMENT = "share/doc/mtp-export/commands.md"


@dataclass(frozen=True)
class Finding:
    """One thing that works or does not."""

    what: str
    works: bool
    found: str
    """Versions, or what is wrong."""
    remedy: str = ""
    """The command that makes it work."""


def examine() -> Iterator[Finding]:
    """The interpreter and every extra, without importing any package."""
    yield _documents()
    yield Finding("Python", True, f"{platform.python_version()}, {platform.platform()}")
    requirements = tuple(map(Requirement, metadata.distribution(DISTRIBUTION).requires or ()))
    for extra, purpose in PURPOSES.items():
        wanted = [each for each in requirements if _belongs(each, extra)]
        yield _extra(extra, purpose, wanted)


def _documents() -> Finding:
    """Where the documents are that ``--help`` names: in the clone, or where the wheel put them."""
    clone = Path(__file__).parent.parent / "docs"
    if (clone / "commands.md").is_file():
        return Finding("docs/", True, str(clone))
    for file in metadata.files(DISTRIBUTION) or ():
        if str(file).endswith(INSTALLED_DOCUMENT):
            return Finding("docs/", True, str(Path(str(file.locate())).resolve().parent))
    return Finding("docs/", False, "not installed", pip_install())


def _belongs(requirement: Requirement, extra: str) -> bool:
    """Whether an extra needs this, which the package alone does not."""
    if requirement.marker is None:
        return not extra
    without = requirement.marker.evaluate({"extra": ""})
    return requirement.marker.evaluate({"extra": extra}) and without is (not extra)


def _extra(extra: str, purpose: str, wanted: Sequence[Requirement]) -> Finding:
    if not wanted:
        return Finding(
            purpose, False, f"an older installation without {extra!r}", pip_install(extra)
        )
    versions = installed([each.name for each in wanted])
    told = [f"{DISTRIBUTION} {tool_version()}"] if not extra else []
    problems = 0
    for each in wanted:
        version = versions.get(each.name)
        if version is not None and each.specifier.contains(version, prereleases=True):
            told.append(f"{each.name} {version}")
            continue
        problems += 1
        found = "not installed" if version is None else f"{version}, not {each.specifier}"
        told.append(f"{each.name}: {found}")
    remedy = pip_install(*filter(None, [extra])) if problems else ""
    return Finding(purpose, not problems, ", ".join(told), remedy)
