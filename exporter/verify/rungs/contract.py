"""Rung: the bundle keeps the engine's contract, and the contract is that of its checkpoints.

Checkpoints whose files are not those that the bundle was made from are noted: they may be right all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from exporter.agreement import choose_ring, make_contract
from exporter.checkpoints.checkpoint import Checkpoint, hash_files
from exporter.checkpoints.pair import TARGET, Pair
from exporter.contract.text import Contract
from exporter.options import ExportOptions, SlidingCache
from exporter.progress import Reporter
from exporter.verify.rung import Rung, Title
from exporter.verify.tower_kind import TowerKind
from exporter.weights.towers import has_tower
from quantize.builtin_recipes import FLOAT32

if TYPE_CHECKING:  # `rebuild` takes agreed_options from here, and needs no extra
    from exporter.verify.evidence import Evidence

TITLE = Title(
    "contract",
    "The bundle keeps the engine's contract",
    "If the problem names the checkpoints, give --target and --drafter of the same size and kind as the "
    "bundle was made from; otherwise export it again with this version of mtp-export.",
    blocks="the contract is broken",
)

REASON = "names, shapes and types are exact; there is nothing to tolerate"


def judge(evidence: Evidence) -> Rung:
    """Structure only; no weight is read and nothing runs. Other checkpoints than the bundle's are noted."""
    asked, inspection = evidence.request, evidence.inspection
    problems = list(inspection.problems)
    if asked.target is not None and inspection.contract is not None:
        problems += _differences(inspection.contract, evidence.pair)
        for medium in evidence.media:
            problems += _tower_differences(medium.kind, inspection.contract, evidence.pair)
    if inspection.manifest is not None and (checkpoints := asked.checkpoints):
        adapters = differing_adapters(inspection.manifest, checkpoints)
        for sentence in adapters:  # before what may take long and fail for this reason
            evidence.reporter.note(sentence)
        files = differing_files(inspection.manifest, checkpoints, evidence.reporter)
        evidence.notes += [*adapters, *files]
    return TITLE.judged((), REASON, problems=problems)


def agreed_options(agreed: Contract, pair: Pair) -> ExportOptions:
    """The options that lead to a contract, in a float32 bundle of a pair."""
    usual = choose_ring(pair.target_config)
    return ExportOptions(
        FLOAT32,
        agreed.cache_length,
        agreed.prefill_lengths,
        agreed.draft_length or 1,
        batch=agreed.batch,
        accelerator=agreed.accelerator,
        kv_dtype=agreed.kv_dtype,
        fixed_cache_length=agreed.placeholder is None,
        sliding_cache=SlidingCache.FULL if agreed.ring is None else SlidingCache.RING,
        rewind_tokens=0 if agreed.ring is None else agreed.ring.turn - usual.turn,
    )


def _differences(agreed: Contract, pair: Pair) -> list[str]:
    """What the checkpoints would prescribe otherwise."""
    options = agreed_options(agreed, pair)
    expected = make_contract(pair.target_config, pair.drafter_config, options)
    chosen = {"placeholder"}  # which prime stands for S is no part of what a model prescribes
    names = [field.name for field in fields(Contract) if field.name not in chosen]
    if pair.drafter is None:  # nothing to say about drafting
        names = [name for name in names if name not in ("draft_length", "drafter_donors")]
    return [
        f"{name}: the bundle has {getattr(agreed, name)}, its checkpoints ask for "
        f"{getattr(expected, name)}"
        for name in names
        if getattr(agreed, name) != getattr(expected, name)
    ]


def _tower_differences(kind: TowerKind, agreed: Contract, pair: Pair) -> list[str]:
    """What the target's tower would prescribe otherwise; a bundle may lack one by choice."""
    about, names = kind.marks.plural, kind.names
    width = pair.target_config.text.hidden_size
    described = kind.described(pair.target, width, agreed.accelerator)
    if described is None or not has_tower(pair.target, names):
        return [f"{about}: the target has no {names.kind} tower, and the bundle was made from one"]
    if described.contract == kind.contract:
        return []
    return [f"{about}: the bundle has {kind.contract}, its target asks for {described.contract}"]


def differing_adapters(
    manifest: Mapping[str, Any], checkpoints: Mapping[str, Checkpoint]
) -> list[str]:
    """One sentence for every checkpoint that lacks the adapter a bundle was made with, or has one more."""
    notes = []
    for role, checkpoint in checkpoints.items():
        option = "--lora" if role == TARGET else "--drafter-lora"
        merged = (manifest["sources"].get(role) or {}).get("adapter")
        if merged is not None and checkpoint.adapter is None:
            notes.append(
                f"the bundle's {role} was made with the adapter {merged['source']}: add {option} ADAPTER, "
                f"unless this {role} has it merged in already"
            )
        if merged is None and checkpoint.adapter is not None:
            notes.append(
                f"the bundle's {role} was made without an adapter: leave out {option}, unless that was "
                "merged in already"
            )
    return notes


def differing_files(
    manifest: Mapping[str, Any], checkpoints: Mapping[str, Checkpoint], reporter: Reporter
) -> list[str]:
    """One sentence for every file whose SHA-256 is not the manifest's."""
    notes = []
    for role, checkpoint in checkpoints.items():
        recorded = (manifest["sources"].get(role) or {}).get("sha256", {})
        files = checkpoint.source_files()
        total = sum(file.stat().st_size for file in files)
        with reporter.stage(f"Comparing the {role}'s checksums", total) as advance:
            found = hash_files(files, advance)
        notes += [
            f"the {role}'s {name} is not the file the bundle was made from"
            for name in sorted(recorded.keys() & found.keys())
            if recorded[name] != found[name]
        ]
        notes += [
            f"the {role}'s {name} is missing here; the bundle was made with one"
            for name in sorted(recorded.keys() - found.keys())
        ]
    return notes
