"""LoRA adapters as PEFT writes them, with random factors, and what PEFT makes of them.

Imports nothing of this project, so that PEFT is the judge.
"""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import (
    Gemma4AssistantForCausalLM,
    Gemma4ForCausalLM,
    Gemma4ForConditionalGeneration,
    PreTrainedModel,
)

TEXT = r".*language_model.*"
"""What precedes modules of the text model in a multimodal target; PEFT matches whole names."""

STRENGTH = 0.05
"""Of the random factors: a change about as large as the weights themselves."""


_LOADED: dict[tuple[Path, str], PreTrainedModel] = {}


def load(folder: Path, kind: type[PreTrainedModel]) -> PreTrainedModel:
    """A checkpoint in float32, read once."""
    key = folder, kind.__name__
    if key not in _LOADED:
        _LOADED[key] = kind.from_pretrained(folder, dtype=torch.float32)
    return copy.deepcopy(_LOADED[key])


def make_adapter(
    checkpoint: Path,
    folder: Path,
    *,
    kind: type[PreTrainedModel] = Gemma4ForConditionalGeneration,
    seed: int = 0,
    **options: Any,
) -> PeftModel:
    """Save an adapter for ``checkpoint`` in ``folder``; the model with it applied."""
    torch.manual_seed(seed)
    config = LoraConfig(**{"r": 4, "lora_alpha": 6, "task_type": "CAUSAL_LM"} | options)
    model = get_peft_model(load(checkpoint, kind), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(_values(name, parameter))
    model.save_pretrained(folder)
    return model.eval()


def _values(name: str, like: Tensor) -> Tensor:
    noise = torch.randn(like.shape)
    if "magnitude" in name or "modules_to_save" in name:
        return like * (1 + 0.2 * noise)
    return STRENGTH * noise


def save_merged(model: PeftModel, checkpoint: Path, folder: Path) -> Path:
    """PEFT's own merge as a float32 checkpoint, beside the small files of the original."""
    model.merge_and_unload().save_pretrained(folder)
    for file in checkpoint.iterdir():
        if not (folder / file.name).exists():
            shutil.copy(file, folder)
    return folder


KINDS = {
    "target": Gemma4ForConditionalGeneration,
    "text": Gemma4ForCausalLM,
    "drafter": Gemma4AssistantForCausalLM,
}
"""Classes that adapters are trained on."""
