"""Bound graphs of the random pairs, how to run them, and how to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from torch import Tensor, nn

from exporter.agreement import make_contract
from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract import names
from exporter.contract.names import Accelerator, Dtype, Section, SignatureSpec
from exporter.contract.text import Contract
from exporter.litertlm.bind import bind
from exporter.litertlm.graphs import find_graphs
from exporter.lowering.units import LoweringRequest
from exporter.model.text.kv import Kv
from exporter.model.text.target import Caches, Step
from exporter.options import ExportOptions
from exporter.progress import SilentReporter
from exporter.weights.matching import Weights, find_weights
from exporter.weights.parameters import parameter_specs
from exporter.weights.storing import StoredWeight
from quantize.builtin_recipes import PLAIN_NAMES, RECIPES
from tests import pairs as pair_files
from tests.bundles import DRAFT_LENGTH, SHORT_PREFILLS
from tests.eager import CACHE_LENGTH, Eager
from tests.once import lowering

TOLERANCE = 1e-4
"""Of each output's largest magnitude. Both sides are float32 and sum in another order: measured
errors are up to 6e-6, any wrong term is above 1e-3."""

SAME_GRAPH_TOLERANCE = 1e-5
"""LiteRT against itself with another number of tokens a call: other tiles, another order of sums."""

WHOLE_STACK_ERROR = 0.08
"""Of each output's largest magnitude: LiteRT with quantised weights against torch with the float
values they stand for.

What differs is that LiteRT rounds activations to 8 bits before each matrix. A step is a 255th of a
row's range, about 5 standard deviations here, so each product is off by 0.6 % of its spread; over 8
layers of 4 products in a row that adds up to 3 %. Measured: up to 4 %. (Rounding the weights to int4
moves this pair's logits by 30 to 80 %: other codes or scales would be seen.)
"""

BOUND_RECIPES = (*PLAIN_NAMES, "int4-block32-clip")
"""One of each storage, and clipped ones too, whose codes use their whole range: a graph cannot tell more
apart."""

HEADS = {"e2b": HeadKind.CENTROID, "e4b": HeadKind.FULL}
"""One of each kind, so that both are run without lowering more than two pairs."""

LENGTH = 150
"""Of the text: well beyond the window."""

STALE = 37.0
"""Left in slots that no mask shows; any leak of it would dwarf the tolerance."""

OTHER_CONSTANTS = 16 * 1024
"""Bytes of constants that a signature may have besides weights: slot numbers and the like."""

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Bound:
    """The graphs of one pair with its weights, bound by a recipe when that is first asked for."""

    contract: Contract
    graphs: Mapping[Section, bytes]
    weights: Weights
    folder: Path
    _stored: dict[str, dict[Section, list[StoredWeight]]] = field(default_factory=dict)

    def file(self, recipe: str, section: Section) -> Path:
        """The graphs of a section and its weights."""
        self.stored(recipe)
        return self._file(recipe, section)

    def stored(self, recipe: str) -> Mapping[Section, Sequence[StoredWeight]]:
        """What is stored in the files."""
        if recipe not in self._stored:
            self._stored[recipe] = {section: self._bind(recipe, section) for section in self.graphs}
        return self._stored[recipe]

    def _bind(self, recipe: str, section: Section) -> list[StoredWeight]:
        with self._file(recipe, section).open("wb") as stream:
            constants = bind(self.graphs[section], self.weights[section], RECIPES[recipe], stream)
        return [constant.stored for constant in constants.values()]

    def _file(self, recipe: str, section: Section) -> Path:
        return self.folder / f"{recipe}-{section.value}"


class LiteRt:
    """Runs signatures as an engine does: buffers are made once, inputs copied in, outputs out."""

    def __init__(self, bound: Bound, recipe: str) -> None:
        self.contract = bound.contract
        self.signatures = bound.contract.section_signatures()
        self.models = {
            section: CompiledModel.from_file(
                str(bound.file(recipe, section)), HardwareAccelerator.CPU
            )
            for section in self.signatures
        }

    def run(self, section: Section, signature: str, inputs: Tensors) -> Tensors:
        """Outputs of one call; ``inputs`` must be exactly what the contract lists."""
        spec, model = self.signatures[section][signature], self.models[section]
        assert inputs.keys() == spec.inputs.keys()
        given, made = {}, {}
        for name, wanted in spec.inputs.items():
            array = inputs[name].numpy()
            assert array.shape == wanted.shape, name
            assert array.dtype == wanted.dtype.value, name
            given[name] = model.create_input_buffer_by_name(signature, name)
            given[name].write(np.ascontiguousarray(array))
        for name in spec.outputs:
            made[name] = model.create_output_buffer_by_name(signature, name)
        model.run_by_name(signature, given, made)
        outputs = {name: _read(made[name], spec, name) for name in made}
        for buffer in (*given.values(), *made.values()):
            buffer.destroy()
        return outputs

    def target(self, signature: str, inputs: Sequence[Tensor], caches: Caches) -> Tensors:
        """One signature of the target; ``inputs`` as ``Eager.inputs`` gives them."""
        order = (
            names.EMBEDDINGS,
            names.PER_LAYER_EMBEDDINGS,
            names.INPUT_POS,
            names.MASK,
        )
        named = {**dict(zip(order, inputs, strict=True)), **named_caches(caches)}
        return self.run(Section.PREFILL_DECODE, signature, named)

    def step(self, eager: Eager, tokens: Tensor, start: int, caches: Caches) -> Step:
        """``decode`` or ``verify``, by the number of tokens."""
        signature = names.DECODE if len(tokens) == 1 else names.VERIFY
        outputs = self.target(signature, eager.inputs(tokens, start), caches)
        logits, hidden = outputs[names.LOGITS], outputs[names.ACTIVATIONS]
        return Step(caches_of(outputs, self.contract), logits, hidden)

    def prefill(self, eager: Eager, tokens: Tensor, start: int, caches: Caches) -> Caches:
        """Some tokens through the shortest prefill that holds them, padded as the engine pads."""
        length = min(n for n in SHORT_PREFILLS if n >= len(tokens))
        inputs = padded(eager.inputs(tokens, start), length)
        outputs = self.target(f"{names.PREFILL_PREFIX}{length}", inputs, caches)
        return caches_of(outputs, self.contract)

    def draft(
        self, eager: Eager, token: Tensor, state: Tensor, committed: int, caches: Caches
    ) -> Tensors:
        """One step of the drafter, as ``Eager.draft``."""
        embedded = eager.embedder(token.reshape(1, 1))
        donors = {layer: caches[layer] for layer in self.contract.drafter_donors}
        inputs = {
            names.ACTIVATIONS: torch.cat([embedded, state.reshape(1, 1, -1)], -1),
            names.INPUT_POS: torch.tensor([committed - 1], dtype=torch.int32),
            names.MASK: (torch.arange(CACHE_LENGTH) < committed).reshape(1, 1, 1, -1),
            **named_caches(donors),
        }
        return self.run(Section.MTP_DRAFTER, names.DRAFT, inputs)


def _read(buffer: object, spec: SignatureSpec, name: str) -> Tensor:
    wanted = spec.outputs[name]
    assert wanted.dtype is Dtype.FLOAT32
    count = int(np.prod(wanted.shape))
    return torch.from_numpy(buffer.read(count, np.float32)).reshape(wanted.shape)  # type: ignore[attr-defined]


def named_caches(caches: Caches) -> Tensors:
    return {
        name: tensor
        for layer, kv in sorted(caches.items())
        for name, tensor in (
            (names.key_cache(layer), kv.keys),
            (names.value_cache(layer), kv.values),
        )
    }


def caches_of(outputs: Tensors, agreed: Contract) -> Caches:
    return {
        cache.layer: Kv(
            outputs[names.key_cache(cache.layer)], outputs[names.value_cache(cache.layer)]
        )
        for cache in agreed.kv_caches
    }


def padded(inputs: Sequence[Tensor], length: int) -> list[Tensor]:
    """Inputs of a prefill with padding behind: position 0, nothing visible, any embedding."""
    embeddings, per_layer, positions, mask = inputs
    more = length - len(positions)
    return [
        nn.functional.pad(embeddings, (0, 0, 0, more), value=STALE),
        nn.functional.pad(per_layer, (0, 0, 0, 0, 0, more), value=STALE),
        nn.functional.pad(positions, (0, more)),
        nn.functional.pad(mask, (0, 0, 0, more)),
    ]


def first_slots(caches: Caches, count: int) -> Tensors:
    """The first slots of every cache."""
    used = {i: Kv(kv.keys[:, :, :count], kv.values[..., :count]) for i, kv in caches.items()}
    return named_caches(used)


def error(ours: Tensor, reference: Tensor) -> float:
    """Largest difference by the reference's largest magnitude."""
    assert ours.shape == reference.shape
    return float((ours - reference).abs().max() / reference.abs().max())


def assert_close(ours: Tensor, reference: Tensor, tolerance: float, what: str = "") -> None:
    found = error(ours, reference)
    assert found <= tolerance, f"{what} relative error {found:.2e}, tolerance {tolerance:.0e}"


def assert_caches_close(ours: Caches, reference: Caches, count: int, tolerance: float) -> None:
    """Compare the first ``count`` slots of every cache."""
    expected = first_slots(reference, count)
    for name, tensor in first_slots(ours, count).items():
        assert_close(tensor, expected[name], tolerance, name)


def assert_untouched(caches: Caches, before: Caches, start: int, stop: int) -> None:
    """A call that wrote slots ``start`` to ``stop`` left all others as they were, bit for bit."""
    slots = torch.cat([torch.arange(start), torch.arange(stop, CACHE_LENGTH)])
    for layer, kv in caches.items():
        assert torch.equal(kv.keys[:, :, slots], before[layer].keys[:, :, slots])
        assert torch.equal(kv.values[..., slots], before[layer].values[..., slots])


def bind_pair(
    pair: pair_files.Pair,
    head: HeadKind,
    folder: Path,
    reader: TensorReader,
    accelerator: Accelerator = Accelerator.CPU,
) -> Bound:
    """What ``export`` does, without packing a bundle; ``reader`` must stay open."""
    target, drafter = open_checkpoint(pair.target), open_checkpoint(pair.drafter)
    parsed = Pair.of(target, drafter)
    options = ExportOptions(
        RECIPES["float32"],
        CACHE_LENGTH,
        SHORT_PREFILLS,
        DRAFT_LENGTH,
        accelerator=accelerator,
        fixed_cache_length=True,
    )
    agreed = make_contract(parsed.target_config, parsed.drafter_config, options)
    request = LoweringRequest(parsed.target_config, parsed.drafter_config, head, agreed)
    with lowering():
        graphs = find_graphs(request, SilentReporter(), fresh=False).lowered.sections
    specs = parameter_specs(parsed.target_config, parsed.drafter_config, head)
    weights = find_weights(specs, target, drafter, reader)
    return Bound(agreed, graphs, weights, folder)


@dataclass(frozen=True)
class Text:
    """A random text and what torch computes for all of it in one pass."""

    eager: Eager
    tokens: Tensor  # [CACHE_LENGTH]

    @cached_property
    def step(self) -> Step:
        return self.eager.forward(self.tokens[:LENGTH], 0, self.eager.empty_caches(STALE))

    def committed(self, count: int) -> Caches:
        """Caches with the text's first ``count`` tokens, made by torch."""
        empty = self.eager.empty_caches(STALE)
        return self.eager.prefill(self.tokens[:count], 0, empty) if count else empty
