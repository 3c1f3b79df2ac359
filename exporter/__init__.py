"""From Hugging Face checkpoints of a Gemma 4 target and its MTP drafter to one ``.litertlm`` bundle.

``pipeline`` is the straight line through the packages, in this order: ``checkpoints`` reads the input,
``model`` holds the torch modules, ``lowering`` makes graphs of them without weights, ``calibrate`` chooses
codes where a recipe wants that, ``weights`` says which tensor fills which weight, ``litertlm`` streams the
weights in and packs the sections; ``onnx`` is the other format. ``contract`` is what all of them and the
engine agree on, ``bundle`` is what the runtime reads. ``verify`` and ``compare`` judge what was made; ``cli``
is the command.

What stands in ``__all__`` is the Python interface, which docs/python.md describes; all else may change.
Each name is imported when it is first used, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.bundle.inspection import Inspection, inspect_bundle
    from exporter.checkpoints.checkpoint import Checkpoint
    from exporter.checkpoints.drafter_search import find_drafter
    from exporter.checkpoints.hub import load_checkpoint
    from exporter.errors import MtpExportError
    from exporter.options import ExportOptions
    from exporter.pipeline import Exported, export
    from exporter.progress import Reporter
    from exporter.verify.ladder import verify_bundle
    from exporter.verify.report import Report
    from quantize.recipe import Recipe
    from quantize.recipe_file import load_recipe
    from runtime_py.opened_model import Opened, open_model

__all__ = [
    "Checkpoint",
    "ExportOptions",
    "Exported",
    "Inspection",
    "MtpExportError",
    "Opened",
    "Recipe",
    "Report",
    "Reporter",
    "export",
    "find_drafter",
    "inspect_bundle",
    "load_checkpoint",
    "load_recipe",
    "open_model",
    "verify_bundle",
]

_HOMES = {
    "Checkpoint": "exporter.checkpoints.checkpoint",
    "ExportOptions": "exporter.options",
    "Exported": "exporter.pipeline",
    "Inspection": "exporter.bundle.inspection",
    "MtpExportError": "exporter.errors",
    "Opened": "runtime_py.opened_model",
    "Recipe": "quantize.recipe",
    "Report": "exporter.verify.report",
    "Reporter": "exporter.progress",
    "export": "exporter.pipeline",
    "find_drafter": "exporter.checkpoints.drafter_search",
    "inspect_bundle": "exporter.bundle.inspection",
    "load_checkpoint": "exporter.checkpoints.hub",
    "load_recipe": "quantize.recipe_file",
    "open_model": "runtime_py.opened_model",
    "verify_bundle": "exporter.verify.ladder",
}
"""The module that each name of the interface is in."""


if not TYPE_CHECKING:  # a type checker is to know every name, and to refuse others

    def __getattr__(name: str) -> object:
        """A name of the interface, imported now (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """What completion offers."""
    return sorted({*globals(), *__all__})
