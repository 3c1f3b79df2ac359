"""What the user chose about a tuning, and what was chosen for all."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exporter.errors import MtpExportError, OptionsError
from exporter.options import DEFAULT_DRAFT_LENGTH
from quantize.recipe import Recipe

DEFAULT_MAX_TOKENS = 512

STEP_TOKENS = 2560
"""Positions of answers that one step of the optimiser sees."""

USUAL_STEPS, MOST_EPOCHS, LEAST_EPOCHS = 200, 20, 2
"""Without ``--epochs``: as many as make so many steps, within these bounds. Few answers are gone through
often; watched answers say when that is enough."""

RATE_AT_256 = 2e-4
"""Peak learning rate of a drafter that is 256 wide, as those of E2B and E4B are; it goes with 1 / width."""


class TuneError(MtpExportError):
    """A drafter cannot be tuned with what was given."""


class NoGainError(MtpExportError):
    """A drafter is not better after its tuning than before; it is not written."""


@dataclass(frozen=True)
class TuningOptions:
    """What the user chose.

    ``recipe`` None is the bundle's, or what an export takes by itself. ``epochs`` and ``rate`` of None are
    chosen to suit the data and the drafter.
    """

    prompts: Path | None
    conversations: Path | None
    keep: Path | None = None
    recipe: Recipe | None = None
    bundle: Path | None = None
    draft_length: int = DEFAULT_DRAFT_LENGTH
    max_tokens: int = DEFAULT_MAX_TOKENS
    epochs: int | None = None
    rate: float | None = None
    device: str = "auto"
    seed: int = 0
    force: bool = False

    def check(self) -> None:
        """Check that exactly one file of prompts was given.

        Raises:
            OptionsError: None was, or two were.
        """
        if (self.prompts is None) == (self.conversations is None):
            raise OptionsError("give --prompts FILE or --conversations FILE.jsonl, one of the two")


@dataclass(frozen=True)
class Plan:
    """How the drafter is trained."""

    epochs: int
    rate: float
    draft_length: int
    seed: int
    step_tokens: int = STEP_TOKENS

    @property
    def rollout(self) -> int:
        """Draft steps that are trained: one more than will be drafted, so that the last is not the edge."""
        return self.draft_length + 1

    @staticmethod
    def of(options: TuningOptions, hidden_size: int, training_tokens: int) -> Plan:
        """What the options say, and what suits the drafter and the data where they say nothing."""
        epochs = options.epochs
        if epochs is None:
            wanted = math.ceil(USUAL_STEPS * STEP_TOKENS / max(1, training_tokens))
            epochs = min(MOST_EPOCHS, max(LEAST_EPOCHS, wanted))
        rate = options.rate or RATE_AT_256 * 256 / hidden_size
        return Plan(epochs, rate, options.draft_length, options.seed)

    def to_json(self) -> dict[str, Any]:
        """For tuning.json."""
        return asdict(self)
