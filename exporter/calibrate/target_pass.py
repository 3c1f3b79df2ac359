"""The target over a calibration text, one layer at a time.

For each layer, its float weights are loaded and all sequences go through it, which gives the inputs of
its matrices; their codes are chosen; and the sequences go through again, with the values of these
codes, to become the next layer's inputs. So one layer's weights and the sequences' hidden states are
all that is in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.calibrate.choice import CodeChoices, float_blocks, load, under
from exporter.calibrate.inputs import InputSums
from exporter.checkpoints.architecture import AttentionKind, Layer, TargetConfig
from exporter.contract.names import Section
from exporter.model.text.decoder import DecoderLayer
from exporter.model.text.kv import Kv, View
from exporter.model.text.layers import RmsNorm, Rotation
from exporter.weights.matching import Weight, Weights

HEAD = "lm_head.weight"

SeeKv = Callable[[Layer, Tensor, Tensor], None]
"""Shown every sequence's keys, rotated, and values ``[1, T, K, D]`` of a layer that owns KV."""


@dataclass
class ReadSequence:
    """One sequence on its way through the target."""

    tokens: tuple[int, ...]
    embeddings: Tensor  # [1, T, H], scaled
    x: Tensor  # [1, T, H], before the next layer; in the end after the final norm
    caches: dict[int, Kv] = field(default_factory=dict)  # of donors, by layer


class TargetPass:
    """Runs a target over sequences and settles its weights.

    Args:
        config: Of the target.
        weights: Of the target's sections.
        choices: What is decided on the way goes there.
        see: Told of keys and values as later layers see them.
        resident: Keep all layers once they are loaded and settled, so that a further run reads none of them
            again. Memory is then that of the whole stack, in float32.
    """

    def __init__(
        self,
        config: TargetConfig,
        weights: Weights,
        choices: CodeChoices,
        see: SeeKv = lambda layer, keys, values: None,
        *,
        resident: bool = False,
    ) -> None:
        self.config, self.choices, self._see = config, choices, see
        self._resident = dict[int, DecoderLayer]() if resident else None
        self._tables = {
            section: weights[section]["weight"]
            for section in (Section.EMBEDDER, Section.PER_LAYER_EMBEDDER)
        }
        self._weights = weights[Section.PREFILL_DECODE]
        self._kept = {config.kv_donor(kind).index for kind in AttentionKind}

    def run(self, sequences: tuple[tuple[int, ...], ...]) -> list[ReadSequence]:
        """Every sequence from its tokens to the hidden states after the final norm."""
        readings = self._read(sequences, self.config.text.layers)
        self._finish(readings)
        return readings

    def fill_caches(self, sequences: tuple[tuple[int, ...], ...]) -> None:
        """Run every sequence up to the last layer that makes keys and values."""
        last = self.config.kv_owners[-1].index
        self._read(sequences, self.config.text.layers[: last + 1])

    def _read(
        self, sequences: tuple[tuple[int, ...], ...], layers: Sequence[Layer]
    ) -> list[ReadSequence]:
        readings = [self._begin(tokens) for tokens in sequences]
        mixer = self._mixer(readings)
        for layer in layers:
            self._layer(layer, readings, mixer)
        return readings

    def _begin(self, tokens: tuple[int, ...]) -> ReadSequence:
        rows = self._rows(Section.EMBEDDER, tokens)
        embeddings = rows.unsqueeze(0) * math.sqrt(self.config.text.hidden_size)
        return ReadSequence(tokens, embeddings, embeddings)

    def _rows(self, section: Section, tokens: tuple[int, ...]) -> Tensor:
        """Rows ``[T, C]`` of a table, as they will be stored."""
        table = self._tables[section]
        rows = self.choices.as_stored(gather(table, np.array(tokens)), table)
        return torch.from_numpy(rows).to(torch.get_default_device())

    def _mixer(self, readings: list[ReadSequence]) -> PerLayerInputs:
        config = self.config
        with torch.device("meta"):
            mixer = PerLayerInputs(config)
        names = dict(mixer.named_parameters())
        weights = {name: self._weights[name] for name in names}
        load(mixer, weights)
        sums = InputSums()
        for reading in readings:
            sums.add("per_layer_model_projection", reading.embeddings)
        self.choices.settle(mixer, weights, sums)
        every = tuple(token for reading in readings for token in reading.tokens)
        mixer.keep_rows(self._rows(Section.PER_LAYER_EMBEDDER, every))
        return mixer

    def _layer(self, layer: Layer, readings: list[ReadSequence], mixer: PerLayerInputs) -> None:
        inputs = mixer.split(readings, layer.index)
        module = self._module(layer, readings, inputs)
        for reading, per_layer in zip(readings, inputs, strict=True):
            reading.x = self._through(module, layer, reading, per_layer, self._see)

    def _module(
        self, layer: Layer, readings: Sequence[ReadSequence], inputs: Sequence[Tensor]
    ) -> DecoderLayer:
        """A layer with the values of its codes: kept from an earlier run, or loaded and settled now."""
        weights = under(self._weights, f"layers.{layer.index}.")
        if self._resident and (kept := self._resident.get(layer.index)) is not None:
            self.choices.progress(sum(weight.tensor.nbytes for weight in weights.values()))
            return kept
        with torch.device("meta"):
            module = DecoderLayer(
                self.config.text,
                layer,
                per_layer_width=self.config.per_layer_width,
                writes_kv=layer.owns_kv,
            )
        load(module, weights)
        sums = InputSums(module)
        if self.choices.calibrated(weights):
            with sums:
                for reading, per_layer in zip(readings, inputs, strict=True):
                    self._through(module, layer, reading, per_layer)
        self.choices.settle(module, weights, sums)
        if self._resident is not None:
            self._resident[layer.index] = module
        return module

    def _through(
        self,
        module: DecoderLayer,
        layer: Layer,
        reading: ReadSequence,
        per_layer: Tensor,
        see: SeeKv | None = None,
    ) -> Tensor:
        view = self._view(layer, len(reading.tokens))
        if layer.owns_kv:
            keys, values = module.keys_values(reading.x, view.rotation)
            if see is not None:
                see(layer, keys, values)
            kv = Kv(keys.permute(0, 2, 1, 3), values.permute(0, 2, 3, 1))
            if layer.index in self._kept:
                reading.caches[layer.index] = kv
        else:
            kv = reading.caches[layer.kv_owner]
        output: Tensor = module(reading.x, view, kv, per_layer)
        return output

    def _view(self, layer: Layer, tokens: int) -> View:
        text = self.config.text
        positions = torch.arange(tokens, dtype=torch.int32)
        mask = positions.reshape(1, 1, 1, -1) <= positions.reshape(1, 1, -1, 1)
        rotation = Rotation.at(positions, text.rope[layer.kind], layer.head_dim)
        if layer.kind is AttentionKind.FULL:
            return View.of_all(rotation, mask)
        return View.of_latest(rotation, mask, positions, text.sliding_window)

    def _finish(self, readings: list[ReadSequence]) -> None:
        text, sums = self.config.text, InputSums()
        with torch.device("meta"):
            norm = RmsNorm(text.hidden_size, text.rms_norm_eps, rank=3)
        load(norm, under(self._weights, "norm."))
        for reading in readings:
            reading.x = norm(reading.x)
            sums.add("lm_head", reading.x)
        self.choices.choose(self._weights[HEAD], sums, "lm_head")


class PerLayerInputs(nn.Module):
    """What the per-layer embeddings and the token's own embedding give each layer.

    ``Target`` computes it for all layers at once. For a whole text that would be many times the hidden
    states, so it is one layer at a time here.
    """

    def __init__(self, config: TargetConfig) -> None:
        super().__init__()
        text, self.width = config.text, config.per_layer_width
        self.per_layer_model_projection = nn.Linear(
            text.hidden_size, len(text.layers) * self.width, bias=False
        )
        self.per_layer_projection_norm = RmsNorm(self.width, text.rms_norm_eps, rank=4)

    def keep_rows(self, rows: Tensor) -> None:
        """Rows ``[N, L * P]`` of the per-layer table for the tokens of all sequences in order."""
        self._rows = rows.to(torch.bfloat16)  # half of the memory, and finer than any table's codes

    def split(self, readings: list[ReadSequence], layer: int) -> list[Tensor]:
        """One layer's inputs ``[1, T, P]`` for each sequence."""
        part = slice(layer * self.width, (layer + 1) * self.width)
        rows = self._rows[:, part].float() * math.sqrt(self.width)
        pieces = torch.split(rows, [len(reading.tokens) for reading in readings])
        matrix = self.per_layer_model_projection.weight[part]
        return [
            self._mixed(reading.embeddings @ matrix.T, piece)
            for reading, piece in zip(readings, pieces, strict=True)
        ]

    def _mixed(self, projected: Tensor, looked_up: Tensor) -> Tensor:
        hidden_size = self.per_layer_model_projection.in_features
        normed = self.per_layer_projection_norm((projected * hidden_size**-0.5)[:, :, None])
        mixed: Tensor = (normed[:, :, 0] + looked_up) * 2.0**-0.5
        return mixed


def gather(table: Weight, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """Pick rows ``[T, C]`` of a table without loading the whole."""
    picked = np.empty((len(tokens), table.row_length), np.float32)
    start = 0
    for rows in float_blocks(table):
        here = (tokens >= start) & (tokens < start + len(rows))
        picked[here] = rows[tokens[here] - start]
        start += len(rows)
    return picked
