"""What the finished pair can do, judged with unmodified transformers modules on held-out prompts.

Knows greedy answers, margins and simulated speculative rounds; does not train.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

import torch
from pair_parts import DRAFT_LENGTH, FULL, SLIDING
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Gemma4AssistantForCausalLM, Gemma4ForConditionalGeneration

from .batches import TextBatch, evaluation_batch
from .corpus import Document
from .target import TargetView, look

NEAR_TIE = 0.5


@dataclass(frozen=True)
class TargetScore:
    """Greedy accuracy: the greedy answer is right when every teacher-forced argmax is."""

    exact: int
    total: int
    by_kind: dict[str, tuple[int, int]]  # kind -> exact, total
    tokens: int
    near_ties: int  # answer tokens whose top two logits are closer than NEAR_TIE
    smallest_margin: float
    right: tuple[Document, ...]


@torch.inference_mode()
def answered(model: Gemma4ForConditionalGeneration, batch: TextBatch) -> tuple[bool, Tensor]:
    """Whether one document's answers come out exactly, and the top-two margin of each of their tokens."""
    logits = look(model, batch).logits[0, :-1]
    answer = batch.is_answer[0, 1:]
    exact = bool((logits.argmax(-1) == batch.ids[0, 1:])[answer].all())
    top = logits[answer].topk(2).values
    return exact, top[:, 0] - top[:, 1]


@torch.inference_mode()
def score_target(
    model: Gemma4ForConditionalGeneration, tokenizer: Tokenizer, chosen: list[Document]
) -> TargetScore:
    """Exact answers over `chosen`, and the top-two margins of those that are exact."""
    by_kind: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    right: list[Document] = []
    margins: list[Tensor] = []
    for document in chosen:
        exact, margin = answered(model, evaluation_batch(tokenizer, [document]))
        by_kind[document.kind][0] += exact
        by_kind[document.kind][1] += 1
        if exact:
            right.append(document)
            margins.append(margin)
    every = torch.cat([torch.empty(0), *margins])
    return TargetScore(
        exact=len(right),
        total=len(chosen),
        by_kind={kind: (a, b) for kind, (a, b) in by_kind.items()},
        tokens=len(every),
        near_ties=int((every < NEAR_TIE).sum()),
        smallest_margin=min(every.tolist(), default=math.inf),
        right=tuple(right),
    )


@dataclass(frozen=True)
class DraftsAccepted:
    """Counts of simulated speculative decoding."""

    drafted: int
    accepted: int
    rounds: int

    @property
    def rate(self) -> float:
        """Accepted over drafted."""
        return self.accepted / max(1, self.drafted)


def _draft(
    target: Gemma4ForConditionalGeneration,
    drafter: Gemma4AssistantForCausalLM,
    view: TargetView,
    t: int,
    pending: Tensor,
) -> list[int]:
    """Greedy drafts after the target processed 0..t and chose `pending` [1, 1] for t + 1."""
    kv = {kind: (k[:, :, : t + 1], v[:, :, : t + 1]) for kind, (k, v) in view.shared_kv.items()}
    hidden, token, drafts = view.hidden[:, t : t + 1], pending, []
    for _ in range(DRAFT_LENGTH):
        embedding = target.model.language_model.embed_tokens(token)
        out = drafter(
            inputs_embeds=torch.cat([embedding, hidden], dim=-1),
            position_ids=torch.tensor([[t + 1]]),
            shared_kv_states={SLIDING: kv[SLIDING], FULL: kv[FULL]},
        )
        token, hidden = out.logits.argmax(-1), out.last_hidden_state
        drafts.append(int(token))
    return drafts


def _last_answer(batch: TextBatch) -> tuple[int, int]:
    """First and last token index of the final answer (its stop token included)."""
    flags = batch.is_answer[0].tolist()
    last = len(flags) - 1 - flags[::-1].index(True)
    first = last
    while flags[first - 1]:
        first -= 1
    return first, last


@torch.inference_mode()
def acceptance(
    target: Gemma4ForConditionalGeneration,
    drafter: Gemma4AssistantForCausalLM,
    tokenizer: Tokenizer,
    answered: list[Document],
) -> DraftsAccepted:
    """Speculative rounds over documents that the target answers exactly.

    Drafts beyond the stop token count as refused.
    """
    drafted = accepted = rounds = 0
    for document in answered:
        batch = evaluation_batch(tokenizer, [document])
        view = look(target, batch)
        first, last = _last_answer(batch)
        ids = batch.ids[0].tolist()
        pending = first  # index of the token chosen but not yet processed
        while pending < last:
            drafts = _draft(target, drafter, view, pending - 1, batch.ids[:, pending : pending + 1])
            wanted = ids[pending + 1 : last + 1]
            match = 0
            while match < min(len(drafts), len(wanted)) and drafts[match] == wanted[match]:
                match += 1
            drafted, accepted, rounds = drafted + len(drafts), accepted + match, rounds + 1
            pending += match + 1
    return DraftsAccepted(drafted, accepted, rounds)
