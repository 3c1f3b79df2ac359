"""The drafter over many answers at once: every step of a draft from every position, as in the inference loop.

Axes: B answers, R starts of drafts, S slots, K draft steps, N heads. Start r of an answer whose prompt has P
tokens has slots 0 to t = P - 1 + r committed. Step k (from 1) gets the embedding of token t + k and, for k
= 1, the target's hidden state at t, else the step before's projection; it is to say token t + k + 1.
Position and what is seen stay those of t. Tokens are the target's own, which is what a draft sees as long as
all drafts before it are right; after the first wrong one nothing matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from exporter.checkpoints.architecture import AttentionKind, DrafterConfig
from exporter.model.text.drafter import Drafter
from exporter.model.text.layers import Rotation
from exporter.tune.answers import Answer
from exporter.tune.features import FeatureFile, Features
from exporter.tune.target_reading import Embeddings

NO_TOKEN = -1


@dataclass(frozen=True)
class PaddedKv:
    """Keys and values ``[B, K, S, D]`` of one kind of layer."""

    keys: Tensor
    values: Tensor


@dataclass(frozen=True)
class Batch:
    """Some answers with their features, padded to the longest."""

    hidden: Tensor  # [B, R, H]
    embedded: Tensor  # [B, R + K - 1, H], of the tokens from the first of the answer on
    tokens: Tensor  # [B, R + K], NO_TOKEN behind the end
    lengths: Tensor  # [B], tokens of the answer
    committed: Tensor  # [B, R], t
    caches: Mapping[AttentionKind, PaddedKv]

    @property
    def starts(self) -> int:
        """R."""
        return self.hidden.shape[1]

    def labels(self, step: int) -> Tensor:
        """What step ``step`` (from 1) is to say from each start, ``[B, R]``; NO_TOKEN where nothing is."""
        return self.tokens[:, step : step + self.starts]

    def inside(self, step: int) -> Tensor:
        """Whether that is still a token of the answer, its end included; bool ``[B, R]``."""
        places = torch.arange(self.starts, device=self.tokens.device) + step
        return places < self.lengths.unsqueeze(1)


@dataclass(frozen=True)
class PaddedView:
    """What the starts of each answer see of its slots."""

    rotation: Rotation  # [B, R, 1, D/2]
    seen: Tensor  # bool [B, 1, R, S]

    def attend(self, queries: Tensor, kv: PaddedKv) -> Tensor:
        """Attention of ``queries`` ``[B, R, N, D]``; ``[B, R, N * D]``. Gemma 4's scale is 1."""
        mixed = functional.scaled_dot_product_attention(
            queries.transpose(1, 2),
            kv.keys,
            kv.values,
            attn_mask=self.seen,
            scale=1.0,
            enable_gqa=True,
        )
        return mixed.transpose(1, 2).flatten(2)


def views(config: DrafterConfig, batch: Batch) -> dict[AttentionKind, PaddedView]:
    """What layers of each kind see; as the drafter's own views, for many starts."""
    text, committed = config.text, batch.committed
    found = {}
    for kind, kv in batch.caches.items():
        at = Rotation.at((committed + 1).flatten(), text.rope[kind], kv.keys.shape[-1])
        rotation = Rotation(*(part.reshape(*committed.shape, 1, -1) for part in (at.cos, at.sin)))
        slots, newest = torch.arange(kv.keys.shape[2]), committed.unsqueeze(-1)
        seen = slots <= newest
        if kind is AttentionKind.SLIDING:
            seen &= slots >= newest - text.sliding_window
        found[kind] = PaddedView(rotation, seen.unsqueeze(1))
    return found


def hidden_states(drafter: Drafter, batch: Batch, steps: int) -> Iterator[Tensor]:
    """The states after the final norm ``[B, R, H of the drafter]`` of each step."""
    seen, state = views(drafter.config, batch), batch.hidden
    for step in range(steps):
        embedded = batch.embedded[:, step : step + batch.starts]
        x = drafter.pre_projection(torch.cat([embedded, state], -1))
        for layer, module in zip(drafter.config.text.layers, drafter.layers, strict=True):
            x = module(x, seen[layer.kind], batch.caches[layer.kind])
        normed = drafter.norm(x)
        yield normed
        state = drafter.post_projection(normed)


def make_batch(
    answers: Sequence[Answer],
    features: Sequence[Features],
    embeddings: Embeddings,
    steps: int,
    device: torch.device,
) -> Batch:
    """Answers and their features on a device, in float32, for drafts of ``steps`` steps."""
    starts = max(answer.starts for answer in answers)
    tokens = np.full((len(answers), starts + steps), NO_TOKEN)
    for row, answer in zip(tokens, answers, strict=True):
        known = (*answer.tokens, *answer.tail)[: len(row)]
        row[: len(known)] = known
    first = np.array([len(answer.prompt) - 1 for answer in answers])
    committed = first[:, None] + np.arange(starts)
    slots = max(answer.slots for answer in answers)
    caches = {
        kind: PaddedKv(
            _padded([f.keys[kind] for f in features], slots, 1, device),
            _padded([f.values[kind] for f in features], slots, 1, device),
        )
        for kind in AttentionKind
    }
    return Batch(
        hidden=_padded([f.hidden for f in features], starts, 0, device),
        embedded=embeddings.of(tokens[:, : starts + steps - 1]),
        tokens=torch.from_numpy(tokens).to(device),
        lengths=torch.tensor([len(answer.tokens) for answer in answers], device=device),
        committed=torch.from_numpy(committed).to(device),
        caches=caches,
    )


def _padded(parts: Sequence[Tensor], length: int, axis: int, device: torch.device) -> Tensor:
    """Tensors that differ along ``axis``, with zeros up to ``length``, as one in float32."""
    shape = list(parts[0].shape)
    shape[axis] = length
    whole = torch.zeros(len(parts), *shape, dtype=parts[0].dtype, device="cpu")
    for row, part in zip(whole, parts, strict=True):
        row.narrow(axis, 0, part.shape[axis]).copy_(part)
    return whole.to(device).float()


@dataclass(frozen=True)
class Source:
    """Where batches come from: answers, their features, embeddings; to a device."""

    file: FeatureFile
    embeddings: Embeddings
    device: torch.device

    def batches(
        self, indices: Sequence[int], steps: int, most: int
    ) -> Iterator[tuple[list[int], Batch]]:
        """Some answers in batches of like lengths, each of about ``most`` slots at most, with padding."""
        for group in grouped(self.file.answers, indices, most):
            answers = [self.file.answers[index] for index in group]
            features = self.file.read(group)
            yield group, make_batch(answers, features, self.embeddings, steps, self.device)


def grouped(answers: Sequence[Answer], indices: Sequence[int], most: int) -> list[list[int]]:
    """Indices of answers of like lengths, cut where slots, padded to the longest, would pass ``most``."""
    ordered = sorted(indices, key=lambda i: (answers[i].starts, answers[i].slots, i))
    groups, widest = list[list[int]](), 0
    for index in ordered:
        widest = max(widest, answers[index].slots)
        if groups and (len(groups[-1]) + 1) * widest <= most:
            groups[-1].append(index)
        else:
            groups.append([index])
            widest = answers[index].slots
    return groups
