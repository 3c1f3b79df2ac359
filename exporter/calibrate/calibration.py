"""Weights with codes chosen on a calibration text, ready to be bound."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from exporter.calibrate.choice import CodeChoices
from exporter.calibrate.drafter_pass import DrafterPass
from exporter.calibrate.target_pass import TargetPass
from exporter.calibrate.text import CalibrationText
from exporter.checkpoints.architecture import DrafterConfig, TargetConfig
from exporter.contract.names import Section
from exporter.weights.matching import Weights

RUN = (Section.PREFILL_DECODE, Section.MTP_DRAFTER)
"""Sections whose weights see inputs."""


@dataclass(frozen=True)
class Models:
    """What is run: the target and, if there is one, its drafter with its drafts per round."""

    target: TargetConfig
    drafter: DrafterConfig | None
    drafts: int


def calibrate(
    weights: Weights, models: Models, text: CalibrationText, choices: CodeChoices
) -> Weights:
    """The weights, of which those with a GPTQ rule now have codes.

    Memory: one layer's float weights, the hidden states of the text, and for the widest input C of a
    layer about 30 bytes times C squared (E2B: 4.5 GB for C = 12288).

    Args:
        weights: Of all sections.
        models: Their configurations.
        text: What they read.
        choices: Of a recipe some of whose rules are GPTQ.
    """
    with torch.inference_mode():
        readings = TargetPass(models.target, weights, choices).run(text.sequences)
        drafter = weights.get(Section.MTP_DRAFTER, {})
        if models.drafter is not None and choices.calibrated(drafter):
            drafter_pass = DrafterPass(models.drafter, models.target, drafter, choices)
            drafter_pass.run(readings, models.drafts)
    return {
        section: {name: choices.ready.get(weight.name, weight) for name, weight in found.items()}
        for section, found in weights.items()
    }


def work(weights: Weights) -> int:
    """Bytes that ``progress`` of :func:`calibrate` adds up to."""
    return sum(w.tensor.nbytes for section in RUN for w in weights.get(section, {}).values())
