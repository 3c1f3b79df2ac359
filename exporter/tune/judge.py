"""How many drafts a drafter gets accepted along answers, as the runtimes count it.

All positions are drafted from at once. Which of them are the starts of rounds follows: a round ends behind
its accepted drafts and one token more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from exporter.model.text.drafter import Drafter
from exporter.tune.answers import Answer
from exporter.tune.chain import Batch, Source, hidden_states
from exporter.tune.loss import CHUNK_ELEMENTS
from exporter.tune.outcome import Drafting
from runtime_py.bench.paired import Count
from runtime_py.loop.rounds import Acceptance

BATCH_TOKENS = 2048
"""Slots of answers judged at once."""


@dataclass(frozen=True)
class Walk:
    """The rounds along one answer."""

    emitted: tuple[int, ...]
    """Tokens of each round, of the answer."""
    accepted: tuple[int, ...]
    """Drafts of each round; those of the last may be of what the target would say behind the end."""

    def marks(self) -> tuple[int, ...]:
        """For each token of the answer, which draft of its round it was; 0 for the target's own."""
        marks = [0]
        for emitted, accepted in zip(self.emitted, self.accepted, strict=True):
            marks += [n if n <= accepted else 0 for n in range(1, emitted + 1)]
        return tuple(marks)


@dataclass(frozen=True)
class Judged:
    """A drafter along some answers: with the head it has, and as if that scored every token."""

    walks: tuple[Walk, ...]
    full: tuple[Walk, ...]
    drafts: int
    everywhere: float
    """Share of drafts accepted if every position were the start of a round: of more drafts than there are
    in rounds, and so less noisy."""

    def acceptance(self) -> list[Count]:
        """Accepted by drafted, of each answer."""
        return [Count(sum(walk.accepted), len(walk.accepted) * self.drafts) for walk in self.walks]

    def tokens_per_round(self) -> list[Count]:
        """Emitted tokens by rounds, of each answer."""
        return [Count(sum(walk.emitted), len(walk.emitted)) for walk in self.walks]

    def acceptances(self) -> list[Acceptance]:
        """By position, of each answer."""
        return [_by_position(walk.accepted, self.drafts) for walk in self.walks]

    def drafting(self) -> Drafting:
        """Of all answers together."""
        total = Acceptance.total(self.acceptances())
        full = [accepted for walk in self.full for accepted in walk.accepted]
        return Drafting(
            rounds=sum(len(walk.accepted) for walk in self.walks),
            tokens=sum(sum(walk.emitted) for walk in self.walks),
            drafted=total.drafted,
            accepted=total.accepted,
            accepted_by_full_head=sum(full),
            drafted_by_full_head=len(full) * self.drafts,
        )


def _by_position(accepted: Sequence[int], drafts: int) -> Acceptance:
    """Of rounds in which so many drafts were accepted."""
    places = range(drafts)
    return Acceptance(
        (len(accepted),) * drafts, tuple(sum(n > place for n in accepted) for place in places)
    )


@torch.inference_mode()
def judge(
    drafter: Drafter, source: Source, drafts: int, indices: Sequence[int] | None = None
) -> Judged:
    """Draft along the answers of a source, or along some of them."""
    answers = source.file.answers
    chosen = range(len(answers)) if indices is None else indices
    walks, full = dict[int, Walk](), dict[int, Walk]()
    right = starts = 0
    with torch.device(source.device):
        for group, batch in source.batches(chosen, drafts, BATCH_TOKENS):
            by_head, by_all = accepted_lengths(drafter, batch, drafts)
            for row, index in enumerate(group):
                lengths = by_head[row].tolist()[: judged_starts(answers[index], drafts)]
                walks[index] = walk(answers[index], lengths, drafts)
                full[index] = walk(answers[index], by_all[row].tolist(), drafts)
                right, starts = right + sum(lengths), starts + len(lengths)
    walked, fully = (tuple(found[index] for index in chosen) for found in (walks, full))
    return Judged(walked, fully, drafts, right / max(1, starts * drafts))


def accepted_lengths(drafter: Drafter, batch: Batch, drafts: int) -> tuple[Tensor, Tensor]:
    """How many drafts in a row are right from each start ``[B, R]``: by the head, and by all scores."""
    alive = [torch.ones_like(batch.committed, dtype=torch.bool) for _ in range(2)]
    lengths = [torch.zeros_like(batch.committed) for _ in range(2)]
    for step, states in enumerate(hidden_states(drafter, batch, drafts), 1):
        for which, said in enumerate(choices(drafter, states)):
            alive[which] = alive[which] & (said == batch.labels(step))
            lengths[which] += alive[which]
    return lengths[0], lengths[1]


def choices(drafter: Drafter, states: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest token after each state ``[B, R, h]``: by the drafter's head, and of all tokens."""
    rows, head = drafter.lm_head.weight, drafter.masked_embedding
    flat = states.flatten(0, 1)
    by_head, by_all = list[Tensor](), list[Tensor]()
    for part in torch.split(flat, max(1, CHUNK_ELEMENTS // len(rows))):
        scores = part @ rows.T
        by_all.append(scores.argmax(1))
        if head is None:
            by_head.append(by_all[-1])
            continue
        nearest = head.centroids(part).topk(head.top_k).indices  # [n, top_k]
        tokens = head.token_ordering[nearest].flatten(1).long()  # [n, candidates]
        tokens = tokens.sort(1).values  # of equal scores the first, the smallest, is taken
        best = scores.gather(1, tokens).argmax(1, keepdim=True)
        by_head.append(tokens.gather(1, best).squeeze(1))
    shape = states.shape[:2]
    return torch.cat(by_head).reshape(shape), torch.cat(by_all).reshape(shape)


def judged_starts(answer: Answer, drafts: int) -> int:
    """Starts of which every draft can be judged: of an answer that was cut, the last ones cannot."""
    return answer.starts if answer.tail else max(0, answer.starts - drafts + 1)


def walk(answer: Answer, lengths: Sequence[int], drafts: int) -> Walk:
    """The rounds along an answer, given how many drafts are right from each of its starts.

    The first token comes from the prompt's decode.
    """
    emitted, accepted, start, last = list[int](), list[int](), 0, len(answer.tokens) - 1
    while start < judged_starts(answer, drafts):
        right = lengths[start]
        accepted.append(right)
        emitted.append(min(right + 1, last - start))
        start += right + 1
    return Walk(tuple(emitted), tuple(accepted))
