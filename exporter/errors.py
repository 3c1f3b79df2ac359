"""The errors a user can meet, and the exit code of each.

Every message is one sentence (or a short list) that says what was expected, what was found, where,
and what to do about it. Nothing here knows about models or files.
"""

from __future__ import annotations

from collections.abc import Sequence


class MtpExportError(Exception):
    """Base of everything the command reports without a traceback; exit code 1."""

    exit_code = 1


class CheckpointError(MtpExportError):
    """A checkpoint cannot be read: missing files, truncated or pickled weights, wrong shapes."""


class ConfigError(MtpExportError):
    """A ``config.json`` describes a model this tool does not export."""


class MismatchError(MtpExportError):
    """Target and drafter do not belong together."""


class OptionsError(MtpExportError):
    """Options contradict each other; exit code 2, as for any wrong usage."""

    exit_code = 2


class RecipeError(MtpExportError):
    """A quantisation recipe is unknown or does not fit the model."""


class TemplateError(MtpExportError):
    """A chat template cannot be rendered, or not as the engine needs it."""


class LoweringError(MtpExportError):
    """The traced graph is not the graph the engine's contract asks for."""


class BundleError(MtpExportError):
    """A file is not a ``.litertlm`` bundle, or not one that keeps the engine's contract."""


class OutputError(MtpExportError):
    """The output cannot be written: it exists, the folder is missing, or the disk is full."""


class EngineError(MtpExportError):
    """The LiteRT-LM engine refused the bundle or stopped while generating."""


class ParityError(MtpExportError):
    """Two runs that must agree differ by more than their tolerance; exit code 3."""

    exit_code = 3


def listed(problems: Sequence[str]) -> str:
    """Join several offenders into one message, one a line, so that all are seen at once."""
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} problems:\n" + "\n".join(f"  - {problem}" for problem in problems)
