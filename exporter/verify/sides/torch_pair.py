"""Our torch modules with weights in them, run eagerly: the model that the graphs are compared with.

Weights come from checkpoints or back out of a bundle. The embedding tables are never loaded; their
rows are read as tokens need them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.checkpoints.architecture import AttentionKind, DrafterConfig, HeadKind, TargetConfig
from exporter.checkpoints.tensors.tensor_names import recipe_name
from exporter.contract import names
from exporter.contract.names import Dtype, Section
from exporter.contract.text import Contract
from exporter.lowering.signatures import TORCH_DTYPES, parameter_specs
from exporter.model.text.drafter import Drafter, widened
from exporter.model.text.target import Caches, Step, Target
from exporter.verify.sides.stored_weights import StoredConstants, find_constant
from exporter.weights.matching import Weight, Weights
from runtime_py.loop.executor import DrafterOutput, DraftFeed

ModelT = TypeVar("ModelT", bound=nn.Module)

BLOCK_ROWS = 4096
CHUNK = 64
"""Tokens a call: bounds the memory of scores and logits."""


class Rows(Protocol):
    """A weight, by rows."""

    @property
    def rows(self) -> int:
        """How many rows it has."""

    def floats(self, start: int, count: int) -> NDArray[np.float32]:
        """Rows ``[count, C]``."""

    def integers(self) -> NDArray[np.int32]:
        """An integer table, in its shape."""


@dataclass(frozen=True)
class CheckpointRows:
    """A checkpoint's tensor, as the graphs take it."""

    weight: Weight

    @property
    def rows(self) -> int:
        return self.weight.rows

    def floats(self, start: int, count: int) -> NDArray[np.float32]:
        return self.weight.floats(start, count)

    def integers(self) -> NDArray[np.int32]:
        return self.weight.ordering()


Source = dict[Section, dict[str, Rows]]
"""A weight for every parameter of every section."""


def from_checkpoints(weights: Weights) -> Source:
    """The weights as the checkpoints have them."""
    return {
        section: {name: CheckpointRows(weight) for name, weight in found.items()}
        for section, found in weights.items()
    }


def from_bundle(names: Mapping[Section, Collection[str]], stored: StoredConstants) -> Source:
    """The weights as the bundle stores them, for parameters of the given names.

    Raises:
        UnreadableWeightError: One is not in the bundle.
    """
    return {
        section: {
            name: find_constant(stored, section, recipe_name(section, name)) for name in found
        }
        for section, found in names.items()
    }


@dataclass(frozen=True)
class Pass:
    """A text through the target: logits ``[N, V]`` at the probes, the rest at every position."""

    logits: Tensor
    hidden: Tensor  # [T, H]
    layers: Tensor  # [L, T, H], after each layer
    caches: Caches


class TorchPair:
    """A target and, if there is one, its drafter; slots and caches as the contract has them."""

    def __init__(
        self,
        config: TargetConfig,
        drafter: tuple[DrafterConfig, HeadKind] | None,
        agreed: Contract,
        source: Source,
    ) -> None:
        self.config, self.contract, self.slots = config, agreed, agreed.cache_length
        kv_dtype = agreed.kv_dtype
        self.target = filled(Target, (config, kv_dtype), source[Section.PREFILL_DECODE])
        self.drafter: Drafter | None = None
        if drafter is not None:
            self.drafter = filled(Drafter, (*drafter, kv_dtype), source[Section.MTP_DRAFTER])
        self._table = source[Section.EMBEDDER]["weight"]
        self._per_layer_table = source[Section.PER_LAYER_EMBEDDER]["weight"]

    def embed(self, tokens: Sequence[int]) -> Tensor:
        """Scaled embeddings ``[1, T, H]``."""
        return _look_up(self._table, tokens) * math.sqrt(self.config.text.hidden_size)

    def embed_per_layer(self, tokens: Sequence[int]) -> Tensor:
        """Scaled per-layer embeddings ``[1, T, L, P]``."""
        width = self.config.per_layer_width
        rows = _look_up(self._per_layer_table, tokens).reshape(1, len(tokens), -1, width)
        return rows * math.sqrt(width)

    def empty_caches(self) -> Caches:
        """Caches of zeros."""
        caches = {}
        for layer in self.config.kv_owners:
            shape = (1, layer.kv_heads, self.slots, layer.head_dim)
            keys = torch.zeros(shape, dtype=TORCH_DTYPES[self.contract.kv_dtype])
            caches[layer.index] = self.target.cache(layer.index, keys, keys.transpose(2, 3).clone())
        return caches

    @staticmethod
    def arrays(caches: Caches) -> dict[str, NDArray[Any]]:
        """Caches of the modules by tensor name."""
        arrays = {}
        for layer, kv in caches.items():
            arrays[names.key_cache(layer)] = kv.keys.numpy()
            arrays[names.value_cache(layer)] = kv.values.numpy()
        return arrays

    def caches(self, arrays: Mapping[str, NDArray[Any]]) -> Caches:
        """Caches by tensor name, as the modules want them."""
        return {
            kv.layer: self.target.cache(
                kv.layer,
                torch.from_numpy(arrays[names.key_cache(kv.layer)]),
                torch.from_numpy(arrays[names.value_cache(kv.layer)]),
            )
            for kv in self.contract.kv_caches
        }

    @torch.no_grad()
    def donor_caches(self, arrays: Mapping[str, NDArray[Any]]) -> Caches:
        """Transformers' KV of the layers that the drafter reads, of a golden file's arrays, in our layout."""
        empty, donors = self.empty_caches(), {}
        for kind in AttentionKind:
            layer = self.config.kv_donor(kind).index
            keys, values = (
                torch.from_numpy(arrays[f"kv.{kind.value}.{part}"]).transpose(0, 1).unsqueeze(0)
                for part in ("keys", "values")
            )  # [1, T, K, D]
            donors[layer] = empty[layer].written(keys, values, torch.tensor(0, dtype=torch.int32))
        return donors

    @torch.no_grad()
    def step(self, tokens: Sequence[int], start: int, caches: Caches) -> Step:
        """``decode`` or ``verify``: tokens to the slots from ``start`` on."""
        positions = torch.arange(start, start + len(tokens), dtype=torch.int32)
        mask = torch.arange(self.slots).reshape(1, 1, 1, -1) <= positions.reshape(1, 1, -1, 1)
        inputs = self.embed(tokens), self.embed_per_layer(tokens), positions, mask
        step: Step = self.target(*inputs, caches)
        return step

    @torch.no_grad()
    def read(self, tokens: Sequence[int], probes: Sequence[int]) -> Pass:
        """A whole text from slot 0 on, some tokens a call."""
        caches, logits, hidden, layers = self.empty_caches(), [], [], []
        wanted = np.array(probes)
        with _layer_outputs(self.target) as outputs:
            for start in range(0, len(tokens), CHUNK):
                step = self.step(tokens[start : start + CHUNK], start, caches)
                caches = step.caches
                here = wanted[(wanted >= start) & (wanted < start + CHUNK)] - start
                logits.append(step.logits[0, torch.from_numpy(here)])
                hidden.append(step.hidden[0])
                layers.append(torch.cat(outputs))
                outputs.clear()
        return Pass(torch.cat(logits), torch.cat(hidden), torch.cat(layers, 1), caches)

    @torch.no_grad()
    def draft(self, feed: DraftFeed[Caches]) -> DrafterOutput:
        """One draft, as the reference runtime's executors make it."""
        assert self.drafter is not None
        state = torch.from_numpy(feed.hidden).reshape(1, 1, -1)
        activations = torch.cat([self.embed([feed.token]), state], -1)
        mask = (torch.arange(self.slots) <= feed.position).reshape(1, 1, 1, -1)
        position = torch.tensor([feed.position], dtype=torch.int32)
        donors = {kind: feed.cache[self.config.kv_donor(kind).index] for kind in AttentionKind}
        draft = self.drafter(activations, position, mask, donors)
        logits = widened(draft.logits, self.contract.vocab_size)
        return DrafterOutput(logits[0, 0].numpy(), draft.projected[0, 0].numpy())


class _layer_outputs:  # noqa: N801 (a context manager)
    """Collects what every layer of a target gives, call by call."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.outputs: list[Tensor] = []

    def __enter__(self) -> list[Tensor]:
        def keep(module: nn.Module, inputs: object, output: Tensor) -> None:
            self.outputs.append(output)

        self.handles = [layer.register_forward_hook(keep) for layer in self.target.layers]
        return self.outputs

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


def _look_up(table: Rows, tokens: Sequence[int]) -> Tensor:
    rows = np.concatenate([table.floats(token, 1) for token in tokens])
    return torch.from_numpy(rows).unsqueeze(0)


@torch.no_grad()
def filled(
    kind: Callable[..., ModelT], arguments: tuple[object, ...], source: Mapping[str, Rows]
) -> ModelT:
    """A module of ``kind`` with a weight for each of its parameters."""
    with torch.device("meta"):
        model = kind(*arguments)
    model.to_empty(device="cpu")
    for name, spec in parameter_specs(model).items():
        parameter, rows = model.get_parameter(name), source[name]
        if spec.dtype is Dtype.INT32:
            parameter.copy_(torch.from_numpy(rows.integers().reshape(spec.shape).copy()))
            continue
        flat = parameter.reshape(-1, spec.shape[-1])
        for start in range(0, rows.rows, BLOCK_ROWS):
            block = rows.floats(start, min(BLOCK_ROWS, rows.rows - start))
            flat[start : start + len(block)] = torch.from_numpy(np.array(block))
    return model.eval()
