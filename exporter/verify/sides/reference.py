"""What unmodified transformers computes for a pair, dumped once: the golden file.

Runs in a process of its own and imports nothing else of this project, so that our model can never be
compared with itself: ``python -m exporter.verify.sides.reference REQUEST.json OUT.npz``. Float32, eager
attention, no KV cache, so that sliding KV is as long as the text. Adapters are applied by unmodified
PEFT, beside the weights and not merged into them, to the class that they were trained on.

Arrays of the file (T tokens, N of them probed, P committed tokens at the start of a draft, G drafts):
    logits                     [N, V]        of the probed positions
    hidden                     [T, H]        after the final norm
    layers                     [L - 1, T, H] after each layer but the last
    kv.<kind>.keys, .values    [K, T, D]     of the layers whose KV the drafter reads
    draft.<P>.logits, .projected, .tokens    [G, V], [G, H], [G]  by Gemma4AssistantForCausalLM
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor
from transformers import (
    AutoConfig,
    Gemma4AssistantForCausalLM,
    Gemma4ForCausalLM,
    Gemma4ForConditionalGeneration,
    PreTrainedModel,
)

Arrays = dict[str, NDArray[Any]]
SharedKv = dict[str, tuple[Tensor, Tensor]]

PREFIXES = {
    "Gemma4ForConditionalGeneration": "model.language_model.",
    "Gemma4ForCausalLM": "model.",
    "Gemma4AssistantForCausalLM": "model.",
}
"""What precedes the text model's weights in each class."""

STORED_PREFIX = (
    r"^(?:model\.language_model\.|language_model\.model\.|language_model\.|model\.)?"
    r"(?=(?:layers|embed_tokens|embed_tokens_per_layer|norm|per_layer_\w+)\.)"
)
"""What may precede them in a file: of one class, of the other, of earlier versions of both, nothing."""

STORED_TOWER = (
    r"^(?:model\.language_model\.|language_model\.model\.|model\.)?"
    r"(?=(?:vision_tower|embed_vision|audio_tower|embed_audio)\.)"
)
"""What may precede the weights that pictures and sound go through."""

STORED_HEAD = r"^(?:model\.)?(?:language_model\.)?(?:model\.)?lm_head\."
"""What a head of its own may be called in a file."""


def main(request_file: str, out: str) -> None:
    """Run what the request asks for."""
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    torch.set_num_threads(int(request["threads"]))
    torch.set_grad_enabled(False)
    kind = _target_class(request["target"], request["target_adapter"])
    target = load(kind, request["target"], request["target_adapter"], request["stale"])
    tokens = torch.tensor([request["tokens"]])
    outputs = target(
        input_ids=tokens,
        use_cache=False,
        output_hidden_states=True,
        return_shared_kv_states=True,
        logits_to_keep=torch.tensor(request["probes"]),
    )
    hidden, kv = outputs.hidden_states[-1], dict(outputs.shared_kv_states)
    arrays: Arrays = {
        "logits": outputs.logits[0].numpy(),
        "hidden": hidden[0].numpy(),
        "layers": torch.cat(list(outputs.hidden_states[1:-1])).numpy(),
    }
    for kind, (keys, values) in kv.items():
        arrays[f"kv.{kind}.keys"], arrays[f"kv.{kind}.values"] = keys[0].numpy(), values[0].numpy()
    if request["drafter"]:
        drafter = load(
            Gemma4AssistantForCausalLM,
            request["drafter"],
            request["drafter_adapter"],
            request["stale"],
        )
        embed = target.get_input_embeddings()  # scales by sqrt(H) itself
        for start in request["starts"]:
            arrays |= draft_chain(drafter, embed, tokens, hidden, kv, start, request["drafts"])
    np.savez(out, **arrays)  # type: ignore[arg-type]


def _target_class(folder: str, adapter: str | None) -> type[PreTrainedModel]:
    """The class of the checkpoint, or the text-only one if the adapter was trained on that."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    text_only = config["model_type"] == "gemma4_text"
    if adapter is not None:
        with safe_open(Path(adapter) / "adapter_model.safetensors", "pt") as tensors:
            names = tensors.keys()
        text_only = text_only or not any("language_model." in name for name in names)
    return Gemma4ForCausalLM if text_only else Gemma4ForConditionalGeneration  # type: ignore[no-any-return]


def load(
    kind: type[PreTrainedModel],
    folder: str,
    adapter: str | None,
    stale: list[str],
    needed: tuple[str, ...] = (),
) -> PreTrainedModel:
    """A checkpoint in float32; of folders in ``stale`` the quantisation block is not true any more.

    Raises:
        ValueError: A weight of the text model, or whose name begins as ``needed`` says, is not in the
            checkpoint; it would be random.
    """
    config, prefix = AutoConfig.from_pretrained(folder), PREFIXES[kind.__name__]
    if folder in stale:
        _drop_quantization(config)
    model, found = kind.from_pretrained(
        folder,
        config=config.get_text_config() if kind is Gemma4ForCausalLM else config,
        dtype=torch.float32,
        attn_implementation="eager",
        key_mapping={STORED_PREFIX: prefix, STORED_TOWER: "model.", STORED_HEAD: "lm_head."},
        output_loading_info=True,
    )
    wanted = (prefix, *needed)
    if missing := sorted(name for name in found["missing_keys"] if name.startswith(wanted)):
        raise ValueError(f"{folder} has no {missing[0]} ({len(missing)} are missing)")
    if adapter is not None:
        _adapt(model, adapter)
    return model.eval()


def _drop_quantization(config: Any) -> None:
    for part in {id(part): part for part in (config, config.get_text_config())}.values():
        if hasattr(part, "quantization_config"):
            del part.quantization_config


def _adapt(model: PreTrainedModel, adapter: str) -> None:
    """Put an adapter's layers into ``model``.

    Raises:
        ValueError: A tensor of the adapter found no place: it was trained on another class.
    """
    from peft import PeftConfig, get_peft_model, load_peft_weights, set_peft_model_state_dict

    adapted = get_peft_model(model, PeftConfig.from_pretrained(adapter))
    loaded = set_peft_model_state_dict(adapted, load_peft_weights(adapter, device="cpu"))
    if loaded.unexpected_keys:
        raise ValueError(
            f"{adapter} was trained on another class than {type(model).__name__}, which has no "
            f"{loaded.unexpected_keys[0]}"
        )


def draft_chain(
    drafter: Any,
    embed: Any,
    tokens: Tensor,
    hidden: Tensor,
    kv: SharedKv,
    start: int,
    drafts: int,
) -> Arrays:
    """Chained steps with ``start`` tokens committed and token ``start`` pending, held at its position.

    Module level on purpose: after a rejection ``generate()`` hands the drafter one KV entry too many.
    """
    committed = {kind: (k[:, :, :start], v[:, :, :start]) for kind, (k, v) in kv.items()}
    token, state = tokens[:, start : start + 1], hidden[:, start - 1 : start]
    steps = []
    for _ in range(drafts):
        outputs = drafter(
            inputs_embeds=torch.cat([embed(token), state], dim=-1),
            position_ids=torch.tensor([[start]]),
            shared_kv_states=committed,
        )
        token, state = outputs.logits.argmax(-1), outputs.last_hidden_state
        steps.append((outputs.logits[0, 0], state[0, 0], token[0, 0]))
    columns = zip(("logits", "projected", "tokens"), zip(*steps, strict=True), strict=True)
    return {f"draft.{start}.{name}": torch.stack(list(rows)).numpy() for name, rows in columns}


if __name__ == "__main__":
    main(*sys.argv[1:])
