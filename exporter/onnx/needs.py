"""Whether the extra is installed that everything about ONNX needs."""

from __future__ import annotations

import importlib.util

from exporter.errors import MtpExportError

PACKAGES = ("onnx", "onnxruntime")


class MissingOnnxError(MtpExportError):
    """The ``onnx`` extra is not installed."""


def require_onnx() -> None:
    """Refuse to go on without onnx and onnxruntime.

    Raises:
        MissingOnnxError: Naming those that are missing.
    """
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise MissingOnnxError(
            f"ONNX folders need {' and '.join(missing)}: pip install 'mtp-export[onnx]'"
        )
