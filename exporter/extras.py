"""Whether an extra of this package is installed, asked before anything of it is imported."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from exporter.errors import MtpExportError
from exporter.pip_install import pip_install


class MissingExtraError(MtpExportError):
    """An extra is not installed."""


def require_onnx() -> None:
    """Refuse to go on without what everything about ONNX needs.

    Raises:
        MissingExtraError: Naming the packages that are missing.
    """
    _require("ONNX folders need", ("onnx", "onnxruntime"), "onnx")


def require_runtime() -> None:
    """Refuse to go on without what turns text into tokens in the reference runtime.

    Raises:
        MissingExtraError: Naming the packages that are missing.
    """
    _require("the reference runtime needs", ("tokenizers",), "runtime")


def require_images() -> None:
    """Refuse to go on without what decodes pictures in the reference runtime.

    Raises:
        MissingExtraError: Naming the package.
    """
    _require("pictures in the reference runtime need", ("PIL",), "images")


def require_audio() -> None:
    """Refuse to go on without what decodes sounds in the reference runtime.

    Raises:
        MissingExtraError: Naming the package.
    """
    _require("sounds in the reference runtime need", ("miniaudio",), "audio")


def require_torch() -> None:
    """Refuse to go on without what computes a checkpoint's own outputs.

    Raises:
        MissingExtraError: Naming the package.
    """
    _require("verify --target needs", ("torch",), "reference")


def require_tuning() -> None:
    """Refuse to go on without what trains a drafter and generates the answers that it learns from.

    Raises:
        MissingExtraError: Naming the packages that are missing.
    """
    _require("tune needs", ("torch", "litert_torch", "tokenizers"), "export,runtime")


def has_engine() -> bool:
    """Whether the stock engine is installed."""
    return importlib.util.find_spec("litert_lm") is not None


def _require(who_needs: str, packages: Sequence[str], extra: str) -> None:
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise MissingExtraError(f"{who_needs} {' and '.join(missing)}: {pip_install(extra)}")
