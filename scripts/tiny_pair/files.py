"""The pair as ordinary Hugging Face checkpoints. Knows file formats; does not train or judge."""

import json
from copy import deepcopy
from pathlib import Path

import torch
from pair_parts import DRAFTING, GENERATION
from tokenizers import Tokenizer
from transformers import (
    Gemma4AssistantForCausalLM,
    Gemma4ForConditionalGeneration,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from .chat import CHAT_TEMPLATE


@torch.no_grad()
def round_to_bfloat16(model: PreTrainedModel) -> None:
    """Round weights in place to values that bfloat16 holds; computing stays float32."""
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            tensor.copy_(tensor.to(torch.bfloat16).float())


def _write_published_config(folder: Path) -> None:
    """Restate config.json the way published Gemma 4 checkpoints do.

    transformers 5.22 keeps the wider head of full-attention layers as `per_layer_config`; published
    files say `global_head_dim` and `num_global_key_value_heads`, which it reads the same.
    """
    path = folder / "config.json"
    config = json.loads(path.read_text())
    text = config["text_config"]
    (global_head_dim,) = {layer["head_dim"] for layer in text.pop("per_layer_config").values()}
    text |= {"global_head_dim": global_head_dim, "num_global_key_value_heads": None}
    config["text_config"] = dict(sorted(text.items()))
    for part in config.values():
        if isinstance(part, dict):
            part["dtype"] = config["dtype"]
    path.write_text(json.dumps(config, indent=2) + "\n")


def _save_model(model: PreTrainedModel, generation: GenerationConfig, folder: Path) -> None:
    stored = deepcopy(model).to(torch.bfloat16)
    stored.generation_config = generation
    stored.save_pretrained(folder)
    _write_published_config(folder)
    for path in folder.iterdir():
        path.chmod(0o644)


def _save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    names = {"bos": "<bos>", "eos": "<eos>", "pad": "<pad>", "unk": "<unk>"}
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
        **{f"{name}_token": text for name, text in names.items()},
    )
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder)


def save_target(model: Gemma4ForConditionalGeneration, tokenizer: Tokenizer, folder: Path) -> None:
    """Weights, configs, tokenizer and chat template."""
    folder.mkdir(parents=True, exist_ok=True)
    _save_model(model, GenerationConfig(**GENERATION), folder)
    _save_tokenizer(tokenizer, folder)


def save_drafter(model: Gemma4AssistantForCausalLM, folder: Path) -> None:
    """Weights and configs; generation_config.json names the draft length transformers asks for."""
    folder.mkdir(parents=True, exist_ok=True)
    _save_model(model, GenerationConfig(**GENERATION, **DRAFTING), folder)


def load_target(folder: Path) -> Gemma4ForConditionalGeneration:
    """The saved target in float32."""
    return Gemma4ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).train(False)


def load_drafter(folder: Path) -> Gemma4AssistantForCausalLM:
    """The saved drafter in float32."""
    return Gemma4AssistantForCausalLM.from_pretrained(folder, dtype=torch.float32).train(False)


def load_tokenizer(folder: Path) -> Tokenizer:
    """The saved tokenizer of a target."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))
