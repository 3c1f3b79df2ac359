"""Whether the extra is installed that everything in this runtime needs which turns text into tokens."""

from __future__ import annotations

import importlib.util

from exporter.errors import MtpExportError

PACKAGES = ("jinja2", "tokenizers")


class MissingRuntimeError(MtpExportError):
    """The ``runtime`` extra is not installed."""


def require_runtime() -> None:
    """Refuse to go on without jinja2 and tokenizers.

    Raises:
        MissingRuntimeError: Naming those that are missing.
    """
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise MissingRuntimeError(
            f"the reference runtime needs {' and '.join(missing)}: pip install 'mtp-export[runtime]'"
        )
