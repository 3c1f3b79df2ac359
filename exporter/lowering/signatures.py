"""What is traced: one torch function per signature of the contract, with its weights as inputs.

A lowered graph depends on the architecture, not on the weights. So every weight enters the function
as an argument, given as a zero-stride tensor that has a shape and no memory; after lowering it is an
input of the graph, and ``bind`` turns it into a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from exporter.checkpoints.architecture import AttentionKind, DrafterConfig, HeadKind, TargetConfig
from exporter.contract import names
from exporter.contract.names import Accelerator, Dtype, Section, SignatureSpec, TensorSpec
from exporter.contract.text import Contract
from exporter.lowering.units import DRAFT_ROUND_UNIT, LoweringRequest, Unit
from exporter.model.text.batch import BatchKv
from exporter.model.text.draft_round import DraftRound
from exporter.model.text.drafter import Drafter, widened
from exporter.model.text.filled import lengths_below
from exporter.model.text.kv import Kv
from exporter.model.text.kv_gpu import GpuKv
from exporter.model.text.kv_ring import Ring, RingKv, in_ring
from exporter.model.text.target import Caches, PerLayerEmbedder, Target, TokenEmbedder

Tensors = dict[str, Tensor]
Body = Callable[[nn.Module, Tensors], Tensors]
"""Runs a model, whose parameters are in place, on a signature's inputs; returns its outputs."""

TORCH_DTYPES = {
    Dtype.FLOAT32: torch.float32,
    Dtype.INT32: torch.int32,
    Dtype.INT8: torch.int8,
    Dtype.BOOL: torch.bool,
}


class SignatureModule(nn.Module):
    """A signature as the converter wants it: keyword tensors in, named tensors out.

    The model is kept out of the module's own state, so that its (empty) parameters are not part of
    the graph; the ones to use arrive as ``weights``.
    """

    def __init__(self, model: nn.Module, body: Body) -> None:
        super().__init__()
        self._hidden = (_Bound(model, body),)  # in a tuple, torch does not see a submodule

    def forward(self, weights: Tensors, **inputs: Tensor) -> Tensors:
        parameters = {f"model.{name}": tensor for name, tensor in weights.items()}
        outputs: Tensors = functional_call(self._hidden[0], parameters, (inputs,))
        return outputs


class _Bound(nn.Module):
    """A module that applies ``body`` to ``model``, for ``functional_call``."""

    def __init__(self, model: nn.Module, body: Body) -> None:
        super().__init__()
        self.model = model
        self.body = body

    def forward(self, inputs: Tensors) -> Tensors:
        return self.body(self.model, inputs)


@dataclass(frozen=True)
class Signature:
    """One signature to lower."""

    name: str
    spec: SignatureSpec
    module: SignatureModule
    weights: Mapping[str, TensorSpec]

    def example(self) -> dict[str, object]:
        """Arguments to trace with: real shapes and types, no memory behind them."""
        inputs: dict[str, object] = {
            name: weightless(spec) for name, spec in self.spec.inputs.items()
        }
        return {
            "weights": {name: weightless(spec) for name, spec in self.weights.items()},
            **inputs,
        }


def weightless(spec: TensorSpec) -> Tensor:
    """A zero tensor of any shape that occupies one element."""
    return torch.zeros((), dtype=TORCH_DTYPES[spec.dtype]).expand(spec.shape)


def target_signatures(
    config: TargetConfig, wanted: Contract, lengths: Sequence[int] = ()
) -> list[Signature]:
    """``prefill_<T>``, ``decode`` and ``verify`` of one target, and those for several sequences."""
    with torch.device("meta"):
        model = Target(config, wanted.kv_dtype, lengths)
    weights = parameter_specs(model)
    used_by_prefill = {
        name: spec for name, spec in weights.items() if not model.prefill_unused(name)
    }

    def step(model: nn.Module, inputs: Tensors) -> Tensors:
        assert isinstance(model, Target)
        result = model(*_token_inputs(inputs), _caches(model, wanted, inputs))
        return {
            **named_caches(result.caches),
            names.LOGITS: result.logits,
            names.ACTIVATIONS: result.hidden,
        }

    def prefill(model: nn.Module, inputs: Tensors) -> Tensors:
        assert isinstance(model, Target)
        caches = _caches(model, wanted, inputs)
        return named_caches(model.prefill(*_token_inputs(inputs), caches))

    def step_batch(model: nn.Module, inputs: Tensors) -> Tensors:
        assert isinstance(model, Target)
        caches = {
            kv.layer: _batch_kv(wanted, inputs, kv.layer, partial(model.cache, kv.layer))
            for kv in wanted.kv_caches
        }
        result = model.forward_batch(*_token_inputs(inputs), caches)
        return {
            **_named_batch_caches(result.caches, wanted.batch),
            names.LOGITS: result.logits,
            names.ACTIVATIONS: result.hidden,
        }

    signatures = []
    for name, spec in wanted.target_signatures().items():
        fills_only = name.startswith(names.PREFILL_PREFIX)
        module = SignatureModule(model, prefill if fills_only else step)
        signatures.append(Signature(name, spec, module, used_by_prefill if fills_only else weights))
    for name, spec in wanted.batch_target_signatures().items():
        signatures.append(Signature(name, spec, SignatureModule(model, step_batch), weights))
    return signatures


def drafter_signatures(
    config: DrafterConfig, wanted: Contract, head: HeadKind, lengths: Sequence[int] = ()
) -> list[Signature]:
    """One draft step over the donors' caches, for one sequence and for several."""
    with torch.device("meta"):
        model = Drafter(config, head, wanted.kv_dtype, lengths)

    def draft(model: nn.Module, inputs: Tensors) -> Tensors:
        assert isinstance(model, Drafter)
        donors = _donors(model, wanted, inputs)
        activations, position = inputs[names.ACTIVATIONS], inputs[names.INPUT_POS]
        result = model(activations, position, inputs[names.MASK], donors)
        logits = widened(result.logits, wanted.vocab_size)
        return {names.LOGITS: logits, names.PROJECTED_ACTIVATIONS: result.projected}

    def draft_batch(model: nn.Module, inputs: Tensors) -> Tensors:
        assert isinstance(model, Drafter)
        donors = {
            kind: _batch_kv(wanted, inputs, layer, partial(model.donor, kind))
            for kind, layer in _donor_kinds(wanted).items()
        }
        activations, positions = inputs[names.ACTIVATIONS], inputs[names.INPUT_POS]
        result = model.forward_batch(activations, positions, inputs[names.MASK], donors)
        logits = widened(result.logits, wanted.vocab_size)
        return {names.LOGITS: logits, names.PROJECTED_ACTIVATIONS: result.projected}

    bodies = {names.DRAFT: draft, names.BATCH_DRAFT: draft_batch}
    specs = {names.DRAFT: wanted.drafter_signature(), **wanted.batch_drafter_signatures()}
    return [
        Signature(name, spec, SignatureModule(model, bodies[name]), parameter_specs(model))
        for name, spec in specs.items()
    ]


def draft_round_signature(
    target: TargetConfig,
    config: DrafterConfig,
    head: HeadKind,
    wanted: Contract,
    lengths: Sequence[int] = (),
) -> Signature:
    """All draft steps of a round; weights are named as the drafter's, the table ``embedder.weight``."""
    with torch.device("meta"):
        model = DraftRound(target, config, head, wanted.kv_dtype, lengths)
    spec = wanted.draft_round_signature()
    assert spec is not None

    def draft(model: nn.Module, inputs: Tensors) -> Tensors:
        assert isinstance(model, DraftRound)
        tokens = model.draft(
            inputs[names.TOKEN_IDS],
            inputs[names.ACTIVATIONS],
            inputs[names.INPUT_POS],
            inputs[names.MASK],
            _donors(model, wanted, inputs),
            wanted.draft_length,
        )
        return {names.TOKENS: tokens}

    module = SignatureModule(model, draft)
    return Signature(names.DRAFT_ROUND, spec, module, parameter_specs(model))


def embedder_signature(config: TargetConfig, wanted: Contract) -> Signature:
    """Token id to embedding."""
    with torch.device("meta"):
        model = TokenEmbedder(config)
    spec = wanted.embedder_signature()
    return _lookup_signature(names.EMBED, spec, model, names.EMBEDDINGS)


def per_layer_embedder_signature(config: TargetConfig, wanted: Contract) -> Signature:
    """Token id to per-layer embeddings."""
    with torch.device("meta"):
        model = PerLayerEmbedder(config)
    spec = wanted.per_layer_embedder_signature()
    return _lookup_signature(names.EMBED_PER_LAYER, spec, model, names.PER_LAYER_EMBEDDINGS)


def unit_signature(request: LoweringRequest, unit: Unit) -> Signature:
    """The signature that a unit asks for."""
    contract = request.contract
    on_cpu = contract.accelerator is Accelerator.CPU
    lengths = lengths_below(contract.cache_length) if on_cpu else ()
    if unit == DRAFT_ROUND_UNIT:
        assert request.drafter is not None
        pair = (request.target, request.drafter, request.head)
        return draft_round_signature(*pair, contract, lengths)
    made = bundle_signatures(request.target, request.drafter, request.head, contract, lengths)
    (found,) = (s for s in made[unit.section] if s.name == unit.signature)
    return found


def bundle_signatures(
    target: TargetConfig,
    drafter: DrafterConfig | None,
    head: HeadKind,
    wanted: Contract,
    lengths: Sequence[int] = (),
) -> dict[Section, list[Signature]]:
    """Everything a bundle needs, by section; ``lengths`` as for :class:`Target`."""
    sections = {
        Section.EMBEDDER: [embedder_signature(target, wanted)],
        Section.PER_LAYER_EMBEDDER: [per_layer_embedder_signature(target, wanted)],
        Section.PREFILL_DECODE: target_signatures(target, wanted, lengths),
    }
    if drafter is not None:
        sections[Section.MTP_DRAFTER] = drafter_signatures(drafter, wanted, head, lengths)
    return sections


def parameter_specs(model: nn.Module) -> dict[str, TensorSpec]:
    """Shapes and types of a model's parameters, in the order the modules are written."""
    types = {torch_dtype: dtype for dtype, torch_dtype in TORCH_DTYPES.items()}
    return {
        name: TensorSpec(tuple(parameter.shape), types[parameter.dtype])
        for name, parameter in model.named_parameters()
    }


def _lookup_signature(name: str, spec: SignatureSpec, model: nn.Module, output: str) -> Signature:
    def look_up(model: nn.Module, inputs: Tensors) -> Tensors:
        return {output: model(inputs[names.TOKEN_IDS])}

    return Signature(name, spec, SignatureModule(model, look_up), parameter_specs(model))


def _donor_kinds(wanted: Contract) -> dict[AttentionKind, int]:
    """The layer whose caches the drafter's layers of each kind read."""
    sliding = wanted.sliding_layers
    return {
        AttentionKind.SLIDING if layer in sliding else AttentionKind.FULL: layer
        for layer in wanted.drafter_donors
    }


MakeKv = Callable[[Tensor, Tensor], Kv]
"""A model's own caches of keys and values."""


def _kv(
    wanted: Contract, inputs: Tensors, layer: int, make: MakeKv, sequence: int | None = None
) -> Kv:
    keys, values = (
        inputs[names.key_cache(layer, sequence)],
        inputs[names.value_cache(layer, sequence)],
    )
    if names.PARAM_TENSOR in inputs:
        return GpuKv(keys, values, inputs[names.PARAM_TENSOR])
    kv = make(keys, values)
    if wanted.ring is None or layer not in wanted.sliding_layers:
        return kv
    return in_ring(kv, Ring(inputs[names.held_positions(sequence)], wanted.ring.turn))


def _donors(model: Drafter, wanted: Contract, inputs: Tensors) -> dict[AttentionKind, Kv]:
    return {
        kind: _kv(wanted, inputs, layer, partial(model.donor, kind))
        for kind, layer in _donor_kinds(wanted).items()
    }


def _batch_kv(wanted: Contract, inputs: Tensors, layer: int, make: MakeKv) -> BatchKv:
    return BatchKv(tuple(_kv(wanted, inputs, layer, make, one) for one in range(wanted.batch)))


def _caches(model: Target, wanted: Contract, inputs: Tensors) -> Caches:
    return {
        kv.layer: _kv(wanted, inputs, kv.layer, partial(model.cache, kv.layer))
        for kv in wanted.kv_caches
    }


def _token_inputs(inputs: Tensors) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        inputs[names.EMBEDDINGS],
        inputs[names.PER_LAYER_EMBEDDINGS],
        inputs[names.INPUT_POS],
        inputs[names.MASK],
    )


def named_caches(caches: Caches, sequence: int | None = None) -> Tensors:
    """Caches by the contract's names."""
    named, held = Tensors(), Tensors()
    for layer, kv in sorted(caches.items()):
        named[names.key_cache(layer, sequence)] = kv.keys
        named[names.value_cache(layer, sequence)] = kv.values
        if isinstance(kv, RingKv):
            held[names.held_positions(sequence)] = kv.ring.held  # the same in all of them
    return named | held


def _named_batch_caches(caches: Mapping[int, BatchKv], batch: int) -> Tensors:
    named = Tensors()
    for one in range(batch):
        named |= named_caches({layer: kv.sequences[one] for layer, kv in caches.items()}, one)
    return named
