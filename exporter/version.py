"""Versions that end up in a bundle's manifest."""

from __future__ import annotations

from importlib import metadata

DISTRIBUTION = "mtp-export"

TOOLS = ("torch", "litert-torch", "litert-converter", "ai-edge-litert", "litert-lm-builder", "numpy")
"""Packages whose version can change an exported file."""


def tool_version() -> str:
    """Version of this package."""
    return metadata.version(DISTRIBUTION)


def tool_versions() -> dict[str, str]:
    """Version of this package and of every installed package that takes part in an export."""
    versions = {DISTRIBUTION: tool_version()}
    for name in TOOLS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
