"""What an export can make."""

from __future__ import annotations

import enum


class OutputFormat(enum.StrEnum):
    """The format of the output."""

    LITERTLM = "litertlm"
    """One file for LiteRT-LM."""
    ONNX = "onnx"
    """A folder of models for ONNX Runtime."""
