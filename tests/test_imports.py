"""Who imports whom: CONTRIBUTING's table, held by every import statement, within functions, too."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.bundles import ROOT

OURS = ("exporter", "runtime_py", "quantize")

LEAVES = (
    "exporter.child_process",
    "exporter.errors",
    "exporter.contract",
    "exporter.json_text",
    "exporter.path_kind",
    "exporter.pip_install",
    "exporter.progress",
    "exporter.regular_file",
)
"""What knows nothing else of ours."""

BUNDLE = (
    "exporter.child_process",
    "exporter.errors",
    "exporter.json_text",
    "exporter.pip_install",
    "exporter.regular_file",
    "exporter.contract",
    "exporter.bundle",
)
"""All that the runtime takes of the exporter."""

ABOVE_RUNTIME = (
    "exporter.__init__",
    "exporter.verify",
    "exporter.compare",
    "exporter.tune",
    "exporter.cli",
)
"""Packages of the exporter that may use the runtime, and the Python interface, which names it."""

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "exporter/files": (*LEAVES, "exporter.files"),
    "exporter/bundle": (*LEAVES, "exporter.files", "exporter.bundle"),
    "exporter/templates": (*BUNDLE, "exporter.bounded_call", "exporter.templates"),
    "exporter/model": (
        "exporter.contract",
        "exporter.checkpoints.architecture",
        "exporter.checkpoints.vision_architecture",
        "exporter.checkpoints.audio_architecture",
        "exporter.model",
    ),
    "quantize": ("exporter.errors", "exporter.json_text", "exporter.regular_file", "quantize"),
    "runtime_py": (*BUNDLE, "exporter.files", "runtime_py"),
    "runtime_py/loop": ("runtime_py.loop",),
    "runtime_py/chat": (*BUNDLE, "runtime_py.chat"),
}
"""What is not listed may import all of ours that its rules below do not exclude."""

LOADS_TORCH = ("torch", "litert_torch", "transformers")
RUNS_GRAPHS = (*LOADS_TORCH, "ai_edge_litert", "onnxruntime", "litert_lm", "tokenizers")
ONNX = ("onnx", "onnxruntime")


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def modules(package: str) -> list[str]:
    files = sorted((ROOT / package).rglob("*.py"))
    return [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]


def source(module: str) -> Path:
    return (ROOT / Path(*module.split("."))).with_suffix(".py")


@cache
def imported(module: str) -> tuple[str, ...]:
    """Names that a module imports: modules, and what is taken from a package."""

    def names() -> Iterator[str]:
        for node in ast.walk(ast.parse(source(module).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                whole = (ROOT / Path(*node.module.split("."))).is_dir()
                taken = [f"{node.module}.{alias.name}" for alias in node.names]
                yield from taken if whole else [node.module]

    return tuple(names())


def ours(module: str) -> list[str]:
    return [name for name in imported(module) if within(name, OURS)]


def outside(package: str, allowed: tuple[str, ...]) -> dict[str, str]:
    """Imports of ours in a package that are not allowed."""
    return {m: n for m in modules(package) for n in ours(m) if not within(n, allowed)}


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_import_nothing_of_ours(leaf: str) -> None:
    files = modules(leaf.replace(".", "/")) or [leaf]
    assert not {m: n for m in files for n in ours(m) if not within(n, (leaf,))}


@pytest.mark.parametrize(("package", "allowed"), MAY_IMPORT.items())
def test_a_package_imports_what_it_may(package: str, allowed: tuple[str, ...]) -> None:
    assert modules(package)
    assert not outside(package, allowed)


def test_the_exporter_does_not_know_the_runtime() -> None:
    below = [module for module in modules("exporter") if not within(module, ABOVE_RUNTIME)]
    assert not {m: n for m in below for n in ours(m) if within(n, ("runtime_py", *ABOVE_RUNTIME))}


def test_reports_do_not_know_commands() -> None:
    reports = [
        *modules("exporter/verify"),
        *modules("exporter/compare"),
        *modules("exporter/tune"),
        *modules("exporter/report"),
    ]
    assert not {m: n for m in reports for n in ours(m) if within(n, ("exporter.cli",))}


def test_the_formats_do_not_know_each_other() -> None:
    pairs = (("exporter/litertlm", "exporter.onnx"), ("exporter/onnx", "exporter.litertlm"))
    assert not {
        m: n
        for package, other in pairs
        for m in modules(package)
        for n in ours(m)
        if within(n, (other,))
    }


def test_the_runtime_never_loads_torch() -> None:
    assert not {m: n for m in modules("runtime_py") for n in imported(m) if within(n, LOADS_TORCH)}


def test_onnx_is_imported_by_its_own_packages_alone() -> None:
    others = [m for m in modules("exporter") + modules("runtime_py") if ".onnx." not in m]
    assert not {m: n for m in others for n in imported(m) if within(n, ONNX)}


@pytest.mark.parametrize("module", modules("runtime_py/loop"))
def test_the_loop_runs_no_graph(module: str) -> None:
    assert not [name for name in imported(module) if within(name, RUNS_GRAPHS)]


def test_no_module_imports_itself_through_others() -> None:
    graph = {
        module: [name for name in ours(module) if source(name).is_file()]
        for package in OURS
        for module in modules(package)
    }
    TopologicalSorter(graph).prepare()


def test_every_package_is_installed() -> None:
    """In a clone all of them can be imported; in a wheel only those that are listed."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {module.rpartition(".")[0] for package in OURS for module in modules(package)}
    assert set(listed) == found
