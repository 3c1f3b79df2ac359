"""Graphs of the tiny pair with a deliberate fault, lowered from wrong variants of the torch modules.

One signature at a time, so that a fault costs only the signatures it is in. They are kept between runs like
other graphs, by a name that covers this module's code: an edit of it makes those in ``tests/graphs.zip``
useless, until ``scripts/ship_graphs.py --kept`` has made that anew.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from exporter.agreement import make_contract
from exporter.checkpoints.architecture import AttentionKind, HeadKind, TargetConfig
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.pair import Pair
from exporter.contract import names
from exporter.contract.text import Contract
from exporter.lowering import signatures
from exporter.lowering.choices import with_choices
from exporter.lowering.graph_cache import LITERT, KnownGraphs, find_graphs, unit_key
from exporter.lowering.sources import code_of
from exporter.lowering.units import LoweringRequest, Unit, litert_units
from exporter.model.text.draft_round import DraftRound
from exporter.model.text.drafter import Draft, Drafter
from exporter.model.text.kv import Kv
from exporter.model.text.target import Caches, Step, Target
from exporter.options import ExportOptions
from exporter.progress import SilentReporter
from quantize.builtin_recipes import RECIPES
from tests.bundles import TINY_DRAFTER, TINY_TARGET
from tests.once import kept_graph, lowering

CACHE_LENGTH, PREFILL = 256, 128


class Fault(enum.Enum):
    """What is wrong with a bundle."""

    NONE = "nothing"
    DONOR = "a layer reads another layer's KV"
    POSITION = "the drafter's query stands one position early"
    PRE_NORM = "activations are taken before the final norm"
    SOFTCAP = "logits are not softcapped"
    TRANSPOSED = "values are reshaped where they should be transposed"
    ORDERING = "the centroid head's token table is shifted by one cluster"
    SCALE = "one row of one weight has a wrong scale"
    DRAFT_ROUND = "a draft round goes on with the target's hidden state instead of the drafter's"


class ReshapedKv(Kv):
    """``[1, T, K, D]`` to ``[1, K, D, T]`` by reshaping: right shape, right for T = 1, else wrong."""

    def written(self, keys: Tensor, values: Tensor, slot: Tensor) -> Kv:
        return self._updated(
            keys.permute(0, 2, 1, 3), values.reshape(values.permute(0, 2, 3, 1).shape), slot
        )


class ReshapingTarget(Target):
    """Writes values wrongly."""

    def forward(
        self, embeddings: Tensor, per_layer: Tensor, positions: Tensor, mask: Tensor, caches: Caches
    ) -> Step:
        wrong: Caches = {index: ReshapedKv(kv.keys, kv.values) for index, kv in caches.items()}
        return super().forward(embeddings, per_layer, positions, mask, wrong)


class PreNormTarget(Target):
    """Hands out the hidden state that goes into the final norm."""

    def forward(
        self, embeddings: Tensor, per_layer: Tensor, positions: Tensor, mask: Tensor, caches: Caches
    ) -> Step:
        before: list[Tensor] = []
        hook = self.norm.register_forward_pre_hook(lambda _, inputs: before.append(inputs[0]))
        step = super().forward(embeddings, per_layer, positions, mask, caches)
        hook.remove()
        return replace(step, hidden=before[0])


class EarlyDrafter(Drafter):
    """Takes the engine's P - 1 for the query's position."""

    def forward(
        self, activations: Tensor, input_pos: Tensor, mask: Tensor, donors: dict[AttentionKind, Kv]
    ) -> Draft:
        return super().forward(activations, input_pos - 1, mask, donors)


class EarlyRound(DraftRound):
    """As :class:`EarlyDrafter`, in a draft round."""

    def draft(
        self,
        token: Tensor,
        hidden: Tensor,
        input_pos: Tensor,
        mask: Tensor,
        donors: dict[AttentionKind, Kv],
        count: int,
    ) -> Tensor:
        return super().draft(token, hidden, input_pos - 1, mask, donors, count)


class StaleRound(DraftRound):
    """Takes each token's successor, and never its hidden state: the first draft is right."""

    def draft(
        self,
        token: Tensor,
        hidden: Tensor,
        input_pos: Tensor,
        mask: Tensor,
        donors: dict[AttentionKind, Kv],
        count: int,
    ) -> Tensor:
        tokens: list[Tensor] = []
        for _ in range(count):
            tokens.append(super().draft(token, hidden, input_pos, mask, donors, 1))
            token = tokens[-1].reshape(1, 1)
        return torch.cat(tokens)


@dataclass(frozen=True)
class FaultyModules:
    """Which modules and which configuration a fault lowers, and in which signatures it is."""

    target: type[Target] = Target
    drafter: type[Drafter] = Drafter
    draft_round: type[DraftRound] = DraftRound
    signatures: tuple[str, ...] = ()


FAULTY = {
    Fault.DONOR: FaultyModules(signatures=(names.DECODE, names.VERIFY)),
    Fault.POSITION: FaultyModules(
        drafter=EarlyDrafter,
        draft_round=EarlyRound,
        signatures=(names.DRAFT, names.DRAFT_ROUND),
    ),
    Fault.DRAFT_ROUND: FaultyModules(draft_round=StaleRound, signatures=(names.DRAFT_ROUND,)),
    Fault.PRE_NORM: FaultyModules(target=PreNormTarget, signatures=(names.DECODE,)),
    Fault.SOFTCAP: FaultyModules(signatures=(names.VERIFY,)),
    Fault.TRANSPOSED: FaultyModules(target=ReshapingTarget, signatures=(names.VERIFY,)),
}


@cache
def tiny_pair() -> Pair:
    return Pair.of(open_checkpoint(TINY_TARGET), open_checkpoint(TINY_DRAFTER))


def agreed() -> Contract:
    """Short, and with graphs that are shipped."""
    options = ExportOptions(RECIPES["float32"], CACHE_LENGTH, (PREFILL,))
    return make_contract(tiny_pair().target_config, tiny_pair().drafter_config, options)


def faulty_config(fault: Fault) -> TargetConfig:
    """The target's configuration, wrong for two of the faults."""
    config = tiny_pair().target_config
    if fault is Fault.SOFTCAP:
        return replace(config, logit_softcap=None)
    if fault is Fault.DONOR:
        layers = list(config.text.layers)
        sharing = next(layer for layer in layers if not layer.owns_kv)
        others = [
            layer.index
            for layer in config.kv_owners
            if layer.kind is sharing.kind and layer.index != sharing.kv_owner
        ]
        layers[sharing.index] = replace(sharing, kv_owner=others[-1])
        return replace(config, text=replace(config.text, layers=tuple(layers)))
    return config


def asked(fault: Fault) -> LoweringRequest:
    """What the graphs of a bundle are graphs of."""
    drafter = tiny_pair().drafter_config
    return LoweringRequest(faulty_config(fault), drafter, HeadKind.CENTROID, agreed().as_lowered())


@cache
def sound() -> KnownGraphs:
    """The graphs of the bundle without a fault."""
    units = list(litert_units(agreed()))
    with lowering():
        return find_graphs(asked(Fault.NONE), units, LITERT, SilentReporter())


def lowered(fault: Fault) -> KnownGraphs:
    """The graphs of a bundle: sound ones, and those that the fault is in."""
    plan = FAULTY.get(fault, FaultyModules())
    wrong = {
        unit: _graph_of(unit, fault, plan)
        for unit in sound().by_unit
        if unit.signature in plan.signatures
    }
    return KnownGraphs(fault.name, {}, {**sound().by_unit, **wrong})


def _graph_of(unit: Unit, fault: Fault, plan: FaultyModules) -> bytes:
    """One signature, lowered now or in an earlier run."""
    request, code = asked(fault), code_of(Path(__file__).read_text(encoding="utf-8"))
    source = sha256(code.encode()).hexdigest()[:8]
    name = f"{unit_key(request, unit)}-{source}-{fault.name}"
    return kept_graph(name, lambda: _lower(request, unit, plan))


def _lower(request: LoweringRequest, unit: Unit, plan: FaultyModules) -> bytes:
    import litert_torch

    with (
        patch.object(signatures, "Target", plan.target),
        patch.object(signatures, "Drafter", plan.drafter),
        patch.object(signatures, "DraftRound", plan.draft_round),
    ):
        signature = signatures.unit_signature(request, unit)
        model = litert_torch.signature(
            signature.name, signature.module.eval(), sample_kwargs=signature.example()
        ).convert()
    return with_choices(model.model_content())
