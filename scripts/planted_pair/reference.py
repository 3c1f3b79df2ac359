"""Whether a planted pair does what it was planted to do, by unmodified transformers.

For small sizes: both models are loaded in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tiny_pair.files import load_drafter, load_target
from torch import Tensor
from transformers import AutoTokenizer

from .planting import Planting, partner
from .text import FIRST_PIECE

NEW_TOKENS = 20
STARTS = 12
BATCH = 512


@dataclass(frozen=True)
class PairFindings:
    """What transformers computed."""

    greedy_right: int
    greedy_total: int
    smallest_margin: float  # between the best and the second logit, after the softcap
    drafts_as_planted: float  # share of tokens whose first draft is the planted one
    second_drafts_as_planted: float  # the same for a step that follows a draft step
    drafts_right: float  # share of tokens whose first draft is what the target says
    assisted_equal: bool  # generate(assistant_model=...) gives the same tokens


@torch.no_grad()
def examine(folder: Path, planting: Planting) -> PairFindings:
    """Run the pair under `folder` from several tokens."""
    torch.set_num_threads(1)  # models this small are not worth sharing out
    target, drafter = load_target(folder / "target"), load_drafter(folder / "drafter")
    tokenizer = AutoTokenizer.from_pretrained(folder / "target")
    starts = torch.linspace(FIRST_PIECE, planting.size.vocab - 1, STARTS).long().tolist()
    right, equal, margin = 0, True, float("inf")
    for start in starts:
        ids = tokenizer(f"hello t{start}", return_tensors="pt").input_ids
        plain = _generated(target, ids)
        planted = [start ^ 1 if i % 2 == 0 else start for i in range(NEW_TOKENS)]
        right += plain == planted
        equal &= _generated(target, ids, assistant_model=drafter) == plain
        top = target(ids).logits[0, -1].topk(2).values
        margin = min(margin, float(top[0] - top[1]))
    first, second = _drafts(target, drafter, planting.size.vocab)
    planted_drafts = torch.cat(
        [torch.from_numpy(planting.drafts(b)) for b in range(planting.size.vocab // planting.block)]
    )
    tokens = torch.arange(planting.size.vocab)
    truth = torch.from_numpy(partner(tokens.numpy()))
    return PairFindings(
        greedy_right=right,
        greedy_total=len(starts),
        smallest_margin=margin,
        drafts_as_planted=float((first == planted_drafts).double().mean()),
        second_drafts_as_planted=float((second == planted_drafts[first]).double().mean()),
        drafts_right=float((first == truth).double().mean()),
        assisted_equal=equal,
    )


def _generated(target: Any, ids: Tensor, **options: Any) -> list[int]:
    output = target.generate(ids, max_new_tokens=NEW_TOKENS, do_sample=False, **options)
    tokens: list[int] = output[0, ids.shape[1] :].tolist()
    return tokens


def _drafts(target: Any, drafter: Any, vocab: int) -> tuple[Tensor, Tensor]:
    """First draft after every token, and the draft after that one."""
    tokens = torch.arange(vocab)
    run = target(tokens[None, :9] + FIRST_PIECE, return_shared_kv_states=True)
    layers = target.config.get_text_config().layer_types
    shared = getattr(run, "shared_kv_states", None)
    if shared is None:
        raise ValueError(f"this version of transformers hands out no shared KV ({set(layers)})")

    def step(token: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        drafted, states = [], []
        for rows in torch.split(torch.arange(len(token)), BATCH):
            embedded = target.get_input_embeddings()(token[rows])  # scaled
            kv = {
                kind: (k.expand(len(rows), -1, -1, -1), v.expand(len(rows), -1, -1, -1))
                for kind, (k, v) in shared.items()
            }
            out = drafter(
                inputs_embeds=torch.cat([embedded, state[rows]], -1)[:, None],
                position_ids=torch.full((len(rows), 1), 9),
                shared_kv_states=kv,
            )
            drafted.append(out.logits[:, -1].argmax(-1))
            states.append(out.last_hidden_state[:, -1])
        return torch.cat(drafted), torch.cat(states)

    hidden = torch.cat(
        [
            target.model(rows[:, None]).last_hidden_state[:, -1]
            for rows in torch.split(tokens, BATCH)
        ]
    )
    first, state = step(tokens, hidden)
    second, _ = step(first, state)
    return first, second
