"""Who imports whom: CONTRIBUTING's table, held by every import statement, within functions, too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import ROOT

LEAVES = ("exporter.errors", "exporter.contract", "exporter.path_kind")
TEMPLATES = (*LEAVES[:1], "exporter.templates")
READERS = (
    "exporter.bundles.layout",
    "exporter.bundles.promises",
    "exporter.bundles.reader",
    "exporter.bundles.stored_contract",
    "exporter.lowering.graph_reader",
    "exporter.onnx.folder",
    "exporter.onnx.names",
)
ABOVE = ("exporter.parity", "exporter.quality", "exporter.cli")
"""Packages of the exporter that may use the runtime."""

LOOP = (
    "runtime_py.adaptive",
    "runtime_py.executor",
    "runtime_py.rounds",
    "runtime_py.sampling",
    "runtime_py.speculative",
)
"""The speculative loop, which knows neither torch nor LiteRT."""

LOADS_TORCH = ("torch", "litert_torch", "transformers")


def module_names(package: str) -> list[str]:
    files = sorted((ROOT / package).rglob("*.py"))
    return [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]


def imported(module: str) -> Iterator[str]:
    """Names that a module imports: modules, and what is taken from a package."""
    source = (ROOT / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = node.module in ("exporter", "runtime_py", "quantize")
            yield from (f"{node.module}.{a.name}" for a in node.names) if whole else [node.module]


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def ours(module: str) -> list[str]:
    return [
        name for name in imported(module) if within(name, ("exporter", "runtime_py", "quantize"))
    ]


@pytest.mark.parametrize("module", LEAVES)
def test_leaves_import_nothing_of_ours(module: str) -> None:
    assert not ours(module)


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("exporter/templates", TEMPLATES),
        ("quantize", ("exporter.errors", "quantize")),
        ("runtime_py", ("runtime_py", *LEAVES, "exporter.templates", *READERS)),
    ],
)
def test_a_package_imports_what_it_may(package: str, allowed: tuple[str, ...]) -> None:
    wrong = {m: n for m in module_names(package) for n in ours(m) if not within(n, allowed)}
    assert not wrong


def test_the_exporter_does_not_know_the_runtime() -> None:
    below = [module for module in module_names("exporter") if not within(module, ABOVE)]
    wrong = {m: n for m in below for n in ours(m) if within(n, ("runtime_py", *ABOVE))}
    assert not wrong


def test_reports_do_not_know_commands() -> None:
    reports = [*module_names("exporter/parity"), *module_names("exporter/quality")]
    assert not {m: n for m in reports for n in ours(m) if within(n, ("exporter.cli",))}


def test_the_runtime_never_loads_torch() -> None:
    modules = module_names("runtime_py")
    assert not {m: n for m in modules for n in imported(m) if within(n, LOADS_TORCH)}


@pytest.mark.parametrize("module", LOOP)
def test_the_loop_knows_no_runtime(module: str) -> None:
    """Nothing that runs a graph, whether it imports that itself or through another module of ours."""
    seen, left = set[str](), [module]
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        assert not [
            n for n in imported(name) if within(n, (*LOADS_TORCH, "ai_edge_litert", "onnxruntime"))
        ]
        left += [n for n in ours(name) if (ROOT / Path(*n.split("."))).with_suffix(".py").is_file()]
