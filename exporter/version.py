"""Versions that end up in a bundle's manifest and in reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata

from exporter.pip_install import DISTRIBUTION

EXPORT_TOOLS = ("numpy", "litert-lm-builder")
"""Packages whose version can change how weights are stored and packed."""

GRAPH_TOOLS = ("torch", "litert-torch", "litert-converter")
"""Packages whose version can change a lowered graph."""

ONNX_TOOLS = ("torch", "litert-torch", "onnx")
"""Packages whose version can change an ONNX graph."""

RUNTIME_TOOLS = ("ai-edge-litert",)
"""Packages whose version can change what a bundle computes."""


def tool_version() -> str:
    """Version of this package; ``unknown`` where it runs from a folder that is only on the path."""
    return installed([DISTRIBUTION]).get(DISTRIBUTION, "unknown")


def tool_versions() -> dict[str, str]:
    """Versions of this package and of those that store and pack weights."""
    return {DISTRIBUTION: tool_version(), **installed(EXPORT_TOOLS)}


def runtime_versions() -> dict[str, str]:
    """Versions of this package and of those that run bundles."""
    return {DISTRIBUTION: tool_version(), **installed(RUNTIME_TOOLS)}


def graph_tool_versions() -> dict[str, str]:
    """Versions of the packages that lower graphs, as far as they are installed."""
    return installed(GRAPH_TOOLS)


def onnx_tool_versions() -> dict[str, str]:
    """Versions of the packages that make ONNX graphs, as far as they are installed."""
    return installed(ONNX_TOOLS)


def installed(names: Sequence[str]) -> dict[str, str]:
    """Versions of these packages, as far as they are installed."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def versions_line(versions: Mapping[str, str]) -> str:
    """``numpy 2.4.0, torch 2.13.0``."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())
