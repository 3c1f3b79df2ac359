"""The golden file: what unmodified transformers computes for a pair, dumped once.

Runs in a process of its own, ``python tests/reference_run.py TARGET DRAFTER OUT.npz [TARGET DRAFTER ...]``,
and imports of this project only ``verify``'s reference, which imports nothing else of it, so that our
model can never be compared with itself.
Float32, eager attention, no KV cache, so that sliding KV is as long as the text.

Arrays of a file (T tokens, P committed tokens at the start of a draft, G drafts):
    tokens                     [N]
    target.<T>.logits, .hidden [T, V], [T, H]  of the first T tokens; hidden is after the final norm
    kv.<kind>.keys, .values    [K, N, D]       of the layers whose KV the drafter reads
    draft.<P>.logits, .projected, .tokens      [G, V], [G, H], [G]  by Gemma4AssistantForCausalLM
    draft.<P>.full             [V]             the first of these hidden states on the whole embedding
    reach.<case>               [H]             projected state after changing one sliding KV entry
    generate.position, .full_kv, .visible      [calls]  what generate() hands the assistant
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Gemma4AssistantForCausalLM as Drafter
from transformers import Gemma4ForConditionalGeneration as Target
from transformers.utils import ModelOutput

from exporter.verify.sides.reference import Arrays, SharedKv, draft_chain, load

TOKEN_COUNT = 160
TARGET_LENGTHS = (40, 64, 65, 150)
DRAFT_STARTS = (40, 64, 65, 66, 150)
"""Committed tokens P: below the window of 64, at it, and where the oldest entry drops out."""
REACH_START = 150
DRAFTS = 4
GENERATED = 24
SLIDING, FULL = "sliding_attention", "full_attention"


def main(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    for at in range(0, len(arguments), 3):
        target_folder, drafter_folder, out = arguments[at : at + 3]
        target = load(Target, target_folder, None, [])
        drafter = load(Drafter, drafter_folder, None, [])
        np.savez(out, **reference(target, drafter))  # type: ignore[arg-type]


def reference(target: Target, drafter: Drafter) -> Arrays:
    """Every array of the golden file."""
    vocabulary = target.config.text_config.vocab_size
    source = torch.Generator().manual_seed(5)
    tokens = torch.randint(3, vocabulary, (1, TOKEN_COUNT), generator=source)
    arrays: Arrays = {"tokens": tokens[0].numpy()}
    for length in TARGET_LENGTHS:
        outputs = _run(target, tokens[:, :length])
        arrays[f"target.{length}.logits"] = outputs.logits[0].numpy()
        arrays[f"target.{length}.hidden"] = outputs.hidden_states[-1][0].numpy()
    outputs = _run(target, tokens)
    kv: SharedKv = dict(outputs.shared_kv_states)
    for kind, (keys, values) in kv.items():
        arrays[f"kv.{kind}.keys"], arrays[f"kv.{kind}.values"] = keys[0].numpy(), values[0].numpy()
    hidden = outputs.hidden_states[-1]
    embed = target.get_input_embeddings()  # scales by sqrt(H) itself
    for start in DRAFT_STARTS:
        arrays |= draft_chain(drafter, embed, tokens, hidden, kv, start, DRAFTS)
        arrays[f"draft.{start}.full"] = _whole_head(target, drafter, tokens, hidden, kv, start)
    arrays |= _reach(target, drafter, tokens, hidden, kv)
    return arrays | _generate(target, drafter, tokens)


def _run(target: Target, tokens: Tensor) -> ModelOutput:
    return target(
        input_ids=tokens,
        use_cache=False,
        output_hidden_states=True,
        return_shared_kv_states=True,
    )


def _whole_head(
    target: Target, drafter: Drafter, tokens: Tensor, hidden: Tensor, kv: SharedKv, start: int
) -> NDArray[Any]:
    """The first draft's hidden state on the whole embedding."""
    committed = {kind: (k[:, :, :start], v[:, :, :start]) for kind, (k, v) in kv.items()}
    token, state = tokens[:, start : start + 1], hidden[:, start - 1 : start]
    outputs = _draft_step(target, drafter, token, state, committed, start)
    return drafter.lm_head(outputs.hidden_states[-1])[0, 0].numpy()  # type: ignore[no-any-return]


def _draft_step(
    target: Target, drafter: Drafter, token: Tensor, state: Tensor, kv: SharedKv, position: int
) -> ModelOutput:
    embedding = target.get_input_embeddings()(token)  # scaled by sqrt(H) inside
    return drafter(
        inputs_embeds=torch.cat([embedding, state], dim=-1),
        position_ids=torch.tensor([[position]]),
        shared_kv_states=kv,
        output_hidden_states=True,
    )


def _reach(
    target: Target, drafter: Drafter, tokens: Tensor, hidden: Tensor, kv: SharedKv
) -> Arrays:
    """How far back the assistant's own sliding mask lets the query see."""
    start, window = REACH_START, drafter.config.text_config.sliding_window
    token, state = tokens[:, start : start + 1], hidden[:, start - 1 : start]

    def projected(sliding: tuple[Tensor, Tensor], position: int = start) -> NDArray[Any]:
        full = kv[FULL][0][:, :, :start], kv[FULL][1][:, :, :start]
        shared = {SLIDING: sliding, FULL: full}
        outputs = _draft_step(target, drafter, token, state, shared, position)
        return outputs.last_hidden_state[0, 0].numpy()  # type: ignore[no-any-return]

    keys, values = (part[:, :, :start] for part in kv[SLIDING])

    def changed(entry: int) -> tuple[Tensor, Tensor]:
        other = values.clone()
        other[:, :, entry] += 10.0
        return keys, other

    return {
        "reach.base": projected((keys, values)),
        "reach.oldest_seen": projected(changed(start - (window + 1))),
        "reach.newest_unseen": projected(changed(start - (window + 2))),
        "reach.cropped": projected((keys[:, :, -(window + 1) :], values[:, :, -(window + 1) :])),
        "reach.position_before": projected((keys, values), start - 1),
    }


def _generate(target: Target, drafter: Drafter, tokens: Tensor) -> Arrays:
    """Watch the assistant's inputs over a whole assisted generation, from below the window on."""
    calls: list[tuple[int, int, int]] = []

    def watch(module: nn.Module, positional: tuple[()], inputs: dict[str, Any]) -> None:
        kv_length = inputs["shared_kv_states"][FULL][0].shape[2]
        mask = inputs["attention_mask"]
        visible = kv_length if mask is None else int(mask[0, :kv_length].sum())
        calls.append((int(inputs["position_ids"]), kv_length, visible))

    prompt = tokens[:, : TARGET_LENGTHS[0]]
    drafter.generation_config.num_assistant_tokens = DRAFTS
    drafter.generation_config.num_assistant_tokens_schedule = "constant"
    handle = drafter.register_forward_pre_hook(watch, with_kwargs=True)
    target.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        assistant_model=drafter,
        max_new_tokens=GENERATED,
        do_sample=False,
        eos_token_id=None,
    )
    handle.remove()
    names = ("position", "full_kv", "visible")
    columns = zip(names, zip(*calls, strict=True), strict=True)
    return {f"generate.{name}": np.array(values) for name, values in columns}


if __name__ == "__main__":
    main(sys.argv[1:])
