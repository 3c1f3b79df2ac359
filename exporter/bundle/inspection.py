"""What a bundle holds, and whether it keeps the engine's contract.

The check compares the signatures in the file with those the contract prescribes. The contract comes
from the manifest; for a bundle of another tool it is inferred from the ``decode`` signature, so that
any ``.litertlm`` file can be inspected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.bundle.graph_reader import (
    BITS,
    ConstantInfo,
    GraphReader,
    SignatureInfo,
)
from exporter.bundle.reader import TFLITE_MODEL, Bundle, open_bundle
from exporter.bundle.signature_check import broken_draft_round, broken_promises, broken_reads
from exporter.bundle.stored_contract import parsed_contract
from exporter.bundle.stored_pictures import broken_pictures, stored_pictures
from exporter.bundle.stored_sound import broken_sound, stored_sound
from exporter.bundle.tensor_kind import tensor_kind
from exporter.contract import names
from exporter.contract.audio import AudioContract
from exporter.contract.caches import KvCache, is_prime
from exporter.contract.names import Dtype, Section
from exporter.contract.text import Contract
from exporter.contract.vision import VisionContract
from exporter.errors import BundleError

GRAPH_CONSTANTS = "(constants of the graph)"

FULL_BITS = 32
"""Bits of a weight that is not rounded."""

KEY_CACHE = re.compile(r"kv_cache_k_(\d+)")


@dataclass(frozen=True)
class WeightGroup:
    """Weights of one kind in one section (all layers' ``mlp.gate_proj``, say)."""

    name: str
    dtype: str
    block: int | None
    """Elements that share a scale; None where a row does, or nothing."""
    count: int
    elements: int
    nbytes: int

    @property
    def bits(self) -> int:
        """Bits per element, scales not counted."""
        return BITS.get(self.dtype, 0)


@dataclass(frozen=True)
class ModelSection:
    """One graph of the bundle."""

    nbytes: int
    signatures: dict[str, SignatureInfo]
    weights: tuple[WeightGroup, ...]


@dataclass(frozen=True)
class Inspection:
    """Everything ``inspect`` shows."""

    bundle: Bundle
    models: dict[str, ModelSection]
    manifest: dict[str, Any] | None
    contract: Contract | None
    draft_round: dict[str, SignatureInfo] | None
    """Signatures of the graph that drafts a round in one call; None if there is none."""
    problems: tuple[str, ...]
    """How the bundle breaks the contract; empty if it keeps it."""
    pictures: VisionContract | None = None
    """What it takes of pictures; None where the manifest says nothing of them."""
    sound: AudioContract | None = None
    """What it takes of sound, likewise."""

    @property
    def has_drafter(self) -> bool:
        """Whether the engine can decode speculatively with this bundle."""
        return Section.MTP_DRAFTER.value in self.models


def inspect_bundle(path: Path) -> Inspection:
    """Read a bundle's structure; weights are not touched.

    Raises:
        BundleError: Not a bundle, or damaged.
    """
    bundle = open_bundle(path)
    models = {}
    with bundle.mapped() as view:
        for section in bundle.sections:
            if section.model_type is not None and section.data_type == TFLITE_MODEL:
                with view[section.begin : section.end] as content:
                    models[section.model_type] = _model(content, f"{path}: {section.model_type}")
    manifest, draft_round = bundle.manifest(), _draft_round(bundle)
    try:
        if manifest:
            agreed = parsed_contract(manifest["contract"])
        else:
            agreed = infer_contract(models, bundle.llm_metadata().max_num_tokens)
        pictures, sound = stored_pictures(manifest), stored_sound(manifest)
    except ValueError as error:
        return Inspection(bundle, models, manifest, None, draft_round, (f"no contract: {error}",))
    signatures, inferred = {name: model.signatures for name, model in models.items()}, not manifest
    problems = broken_promises(agreed, signatures, inferred=inferred)
    problems += broken_pictures(pictures, signatures) + broken_sound(sound, signatures)
    if draft_round is not None:
        problems += broken_draft_round(agreed, draft_round, inferred=inferred)
        problems += broken_reads(bundle)
    return Inspection(
        bundle, models, manifest, agreed, draft_round, tuple(problems), pictures, sound
    )


def _draft_round(bundle: Bundle) -> dict[str, SignatureInfo] | None:
    entry = bundle.draft_round
    if entry is None:
        return None
    return GraphReader(bundle.read(entry), f"{bundle.path}: {names.DRAFT_ROUND}").signatures()


def _model(content: memoryview, where: str) -> ModelSection:
    graph = GraphReader(content, where)
    groups = group_weights(graph.constants())
    return ModelSection(len(content), graph.signatures(), groups)


def group_weights(constants: list[ConstantInfo]) -> tuple[WeightGroup, ...]:
    """Gather constants whose names differ only in the layer index.

    Where weights lie behind the flatbuffer, constants inside it are no weights but part of the graph.
    """
    groups: dict[tuple[str, str, int | None], list[ConstantInfo]] = {}
    weights_behind = not all(constant.inside for constant in constants)
    for constant in constants:
        name = tensor_kind(constant.name)
        if weights_behind and constant.inside:
            name = GRAPH_CONSTANTS
        groups.setdefault((name, constant.dtype, constant.block), []).append(constant)
    return tuple(
        WeightGroup(*kind, len(found), sum(c.elements for c in found), sum(c.nbytes for c in found))
        for kind, found in groups.items()
    )


def infer_contract(models: Mapping[str, ModelSection], max_num_tokens: int) -> Contract:
    """The contract that a bundle without our manifest seems to follow.

    Args:
        models: Its sections.
        max_num_tokens: What its metadata say, for a bundle whose graphs leave that open; 0 if they say
            nothing, and then it is all that these graphs can have.

    Raises:
        ValueError: It has no ``decode`` signature of the expected kind, no prefill, or a drafter without a
            signature.
    """
    target = models.get(Section.PREFILL_DECODE.value)
    if target is None or names.DECODE not in target.signatures:
        raise ValueError("there is no decode signature to infer it from")
    decode = target.signatures[names.DECODE]
    verify = target.signatures.get(names.VERIFY)
    drafter = models.get(Section.MTP_DRAFTER.value)
    drafting = next(iter(drafter.signatures.values()), None) if drafter else None
    if drafter is not None and drafting is None:
        raise ValueError("the drafter's section has no signature")
    if not any(name.startswith(names.PREFILL_PREFIX) for name in target.signatures):
        raise ValueError(f"there is no signature {names.PREFILL_PREFIX}<tokens>")
    try:
        layers, width = decode.inputs[names.PER_LAYER_EMBEDDINGS].shape[2:]
        caches, slots = _caches(decode), decode.inputs[names.MASK].shape[-1]
        chosen_at_load = is_prime(slots)
        told = max_num_tokens if max_num_tokens > 0 else slots - 1
        return Contract(
            hidden_size=decode.inputs[names.EMBEDDINGS].shape[-1],
            layer_count=layers,
            per_layer_width=width,
            vocab_size=decode.outputs[names.LOGITS].shape[-1],
            sliding_window=0,
            cache_length=told if chosen_at_load else slots,
            placeholder=slots if chosen_at_load else None,
            prefill_lengths=_prefill_lengths(target),
            draft_length=verify.inputs[names.INPUT_POS].shape[0] - 1 if verify else 0,
            kv_caches=caches,
            drafter_donors=_cache_layers(drafting) if drafting else (),
            kv_dtype=_cache_dtype(decode),
        )
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"decode lacks or mis-shapes {error}") from error


def _prefill_lengths(target: ModelSection) -> tuple[int, ...]:
    prefix = names.PREFILL_PREFIX
    found = (name.removeprefix(prefix) for name in target.signatures if name.startswith(prefix))
    return tuple(map(int, found))


def _cache_layers(signature: SignatureInfo) -> tuple[int, ...]:
    return tuple(sorted(int(m[1]) for name in signature.inputs if (m := KEY_CACHE.fullmatch(name))))


def _cache_dtype(decode: SignatureInfo) -> Dtype:
    """int8 if all caches are int8; else float32, the contract's other type."""
    found = {tensor.dtype for name, tensor in decode.inputs.items() if KEY_CACHE.fullmatch(name)}
    return Dtype.INT8 if found == {Dtype.INT8.value} else Dtype.FLOAT32


def _caches(decode: SignatureInfo) -> tuple[KvCache, ...]:
    shapes = {layer: decode.inputs[names.key_cache(layer)].shape for layer in _cache_layers(decode)}
    return tuple(KvCache(layer, shape[1], shape[3], False) for layer, shape in shapes.items())


def require_contract(inspection: Inspection) -> Contract:
    """Refuse a bundle whose shapes cannot be known.

    Raises:
        BundleError: Its contract is of another version, or none can be inferred.
    """
    if inspection.contract is None:
        raise BundleError(f"{inspection.bundle.path}: {inspection.problems[0]}")
    return inspection.contract
