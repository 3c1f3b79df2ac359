"""Chat templates that people's fine-tunes carry: those in Unsloth's wheel, downloaded and not kept here.

The wheel has Google's templates of July 2026 (for E2B and E4B, and for larger models) and Unsloth's own.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

WHEEL = "unsloth==2026.10.9"
FILES = {
    "google": "studio/backend/assets/chat_templates/gemma-4-edge.jinja",
    "google, larger": "studio/backend/assets/chat_templates/gemma-4.jinja",
}
ASSIGNED = {"unsloth": "gemma4_template", "unsloth, thinking": "gemma4_thinking_template"}
"""By name: the variable of ``unsloth/chat_templates.py``."""


def download(folder: Path) -> dict[str, str]:
    """The templates by name; empty if the package index cannot be reached."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--quiet",
        "-d",
        str(folder),
        WHEEL,
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    wheels = sorted(folder.glob("unsloth*.whl"))
    if done.returncode or not wheels:
        return {}
    with zipfile.ZipFile(wheels[0]) as wheel:
        found = {name: wheel.read(path).decode() for name, path in FILES.items()}
        source = wheel.read("unsloth/chat_templates.py").decode()
    return found | _assigned(source)


def _assigned(source: str) -> dict[str, str]:
    """Texts that are assigned to variables; the module itself is never run."""
    texts = {
        target.id: node.value.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }
    return {name: texts[variable] for name, variable in ASSIGNED.items()}
