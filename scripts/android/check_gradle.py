"""Checks the Gradle files without Gradle: every name that is used is defined, and the other way round.

Usage: check_gradle.py SAMPLE
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ACCESSOR = re.compile(r"\blibs((?:\.[A-Za-z0-9]+)+)")


def main() -> None:
    """Compare the version catalogue with its uses, and the modules with their folders."""
    sample = Path(sys.argv[1])
    catalogue = tomllib.loads((sample / "gradle/libs.versions.toml").read_text())
    scripts = "\n".join(path.read_text() for path in sorted(sample.glob("**/*.gradle.kts")))
    used = {name.partition(".get")[0] for name in ACCESSOR.findall(scripts)}
    defined = _accessors(catalogue)
    problems = [f"libs{name} is not in the catalogue" for name in sorted(used - defined)]
    problems += [
        f"libs{name} is never used"
        for name in sorted(defined - used)
        if not name.startswith(".versions") or _is_dead(catalogue, name.rpartition(".")[2])
    ]
    for module in re.findall(r'":(\w+)"', (sample / "settings.gradle.kts").read_text()):
        if not (sample / module / "build.gradle.kts").is_file():
            problems.append(f"module {module} has no build.gradle.kts")
    sys.exit("\n".join(problems) or None)


def _accessors(catalogue: dict[str, dict[str, object]]) -> set[str]:
    """The names by which Gradle scripts reach the catalogue's entries."""
    dotted = {
        section: [key.replace("-", ".") for key in keys] for section, keys in catalogue.items()
    }
    return {
        *(f".{name}" for name in dotted["libraries"]),
        *(f".plugins.{name}" for name in dotted["plugins"]),
        *(f".versions.{name}" for name in dotted["versions"]),
    }


def _is_dead(catalogue: dict[str, dict[str, object]], version: str) -> bool:
    entries = [*catalogue["libraries"].values(), *catalogue["plugins"].values()]
    return not any(
        isinstance(entry, dict) and entry["version"] == {"ref": version} for entry in entries
    )


if __name__ == "__main__":
    main()
