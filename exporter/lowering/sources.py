"""The code that decides what a graph looks like: every module of ours that the lowering process imports.

The modules are found by following import statements, so no list of files can go stale. Only code is hashed:
comments, docstrings and blank lines may change without making kept graphs useless.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent
PACKAGES = ("exporter", "quantize", "runtime_py")

UNRELATED = (
    "exporter.child_process",
    "exporter.errors",
    "exporter.files.interrupts",
    "exporter.lowering.child_processes",
    "exporter.pip_install",
)
"""Modules that say how a process fails, is run or is installed, and nothing about a graph; nor does what
they import."""


@cache
def code_hash(modules: tuple[str, ...]) -> str:
    """SHA-256 of the code of these modules and of all that they import."""
    digest = hashlib.sha256()
    for name in sorted(reached(modules)):
        digest.update(f"{name}\n{code_of(_text(name))}\n".encode())
    return digest.hexdigest()


def reached(modules: tuple[str, ...]) -> set[str]:
    """These modules and all of ours that they import, at the top or within functions."""
    found, left = set[str](), list(modules)
    while left:
        name = left.pop()
        if name not in found and name not in UNRELATED:
            found.add(name)
            left += filter(_is_ours, _imports(_text(name)))
    return found


def code_of(text: str) -> str:
    """A module's lines without comments, docstrings and what is then blank.

    Text is hashed and not a syntax tree, whose parts have other names in other versions of Python.
    """
    lines = text.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and _is_text(node.value):
            for row in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                lines[row - 1] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _imports(text: str) -> Iterator[str]:
    """Names that may be those of modules."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_ours(name: str) -> bool:
    """Whether it is a module of this project; its packages hold no code of their own."""
    return name.startswith(tuple(f"{package}." for package in PACKAGES)) and _path(name).is_file()


def _path(name: str) -> Path:
    return PROJECT / (name.replace(".", "/") + ".py")


def _text(name: str) -> str:
    return _path(name).read_text(encoding="utf-8")
