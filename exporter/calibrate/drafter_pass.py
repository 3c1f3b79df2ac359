"""The drafter over what the target read.

Its stack is small, so all of its inputs are watched at once, over the steps of a round: the first reads
the target's hidden states, the others its own. The tokens are the text's. All positions of a sequence
are drafted from at once, as queries that each see the slots committed before them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from exporter.calibrate.choice import CodeChoices, Parameters, load, under
from exporter.calibrate.inputs import InputSums
from exporter.calibrate.target_pass import HEAD, ReadSequence
from exporter.checkpoints.architecture import AttentionKind, DrafterConfig, HeadKind, TargetConfig
from exporter.model.text.drafter import Drafter
from exporter.model.text.kv import Kv, View
from exporter.model.text.layers import Rotation

CENTROIDS = "masked_embedding.centroids.weight"

HEADS = (HEAD, CENTROIDS)
"""Matrices that read the hidden state after the final norm and are not run."""


class DrafterPass:
    """Runs a drafter over readings and settles its weights."""

    def __init__(
        self,
        config: DrafterConfig,
        target: TargetConfig,
        weights: Parameters,
        choices: CodeChoices,
    ) -> None:
        self.config, self.target, self.choices = config, target, choices
        self._heads = {name: weights[name] for name in HEADS if name in weights}
        self._weights = weights

    def run(self, readings: list[ReadSequence], steps: int) -> None:
        """Watch ``steps`` drafts from every position, then choose all codes."""
        with torch.device("meta"):
            drafter = Drafter(self.config, HeadKind.FULL)
        parts = (drafter.pre_projection, drafter.layers, drafter.norm, drafter.post_projection)
        prefixes = ("pre_projection.", "layers.", "norm.", "post_projection.")
        for part, prefix in zip(parts, prefixes, strict=True):
            load(part, under(self._weights, prefix))
        with InputSums(drafter) as sums:
            for reading in readings:
                self._draft(drafter, reading, steps, sums)
        for name, weight in self._weights.items():
            if weight.is_matrix:
                self.choices.choose(weight, sums, name.removesuffix(".weight"))

    def _draft(self, drafter: Drafter, reading: ReadSequence, steps: int, sums: InputSums) -> None:
        """Drafts from positions 1 to T - steps; the last ones have no token for every step."""
        count = len(reading.tokens) - steps
        if count < 1:
            return
        committed = torch.arange(count, dtype=torch.int32)  # the last committed slot of each
        caches = {kind: self._donor(reading, kind) for kind in AttentionKind}
        views = {kind: self._view(kind, committed, kv) for kind, kv in caches.items()}
        state = reading.x[:, :count]
        for step in range(1, steps + 1):
            embedded = reading.embeddings[:, step : step + count]
            x = drafter.pre_projection(torch.cat([embedded, state], -1))
            for layer, module in zip(self.config.text.layers, drafter.layers, strict=True):
                view = views[layer.kind]
                x = module(x, view, view.of(caches[layer.kind]))
            hidden = drafter.norm(x)
            for name in self._heads:
                sums.add(name.removesuffix(".weight"), hidden)
            state = drafter.post_projection(hidden)

    def _donor(self, reading: ReadSequence, kind: AttentionKind) -> Kv:
        return reading.caches[self.target.kv_donor(kind).index]

    def _view(self, kind: AttentionKind, committed: Tensor, kv: Kv) -> View:
        """As the drafter's own, for many queries: see ``exporter.model.text.drafter``."""
        text, slots = self.config.text, torch.arange(kv.keys.shape[2])
        rotation = Rotation.at(committed + 1, text.rope[kind], kv.keys.shape[-1])
        mask = slots.reshape(1, 1, 1, -1) <= committed.reshape(1, 1, -1, 1)
        if kind is AttentionKind.FULL:
            return View.of_all(rotation, mask)
        return View.of_latest(rotation, mask, committed, text.sliding_window + 1)
