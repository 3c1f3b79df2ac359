"""Rung: the bundle keeps the engine's contract, and the contract is that of its checkpoints."""

from __future__ import annotations

from dataclasses import fields

from exporter.agreement import make_contract
from exporter.bundle.inspection import Inspection
from exporter.checkpoints.pair import Pair
from exporter.contract import Contract
from exporter.options import ExportOptions
from exporter.verify.rung import Rung
from exporter.verify.titles import CONTRACT as TITLE
from quantize.builtin_recipes import FLOAT32

REASON = "names, shapes and types are exact; there is nothing to tolerate"


def contract_rung(inspection: Inspection, pair: Pair | None) -> Rung:
    """Structure only; no weight is read and nothing runs."""
    problems = list(inspection.problems)
    if pair is not None and inspection.contract is not None:
        problems += _differences(inspection.contract, pair)
    return TITLE.judged((), REASON, problems=problems)


def _differences(agreed: Contract, pair: Pair) -> list[str]:
    """What the checkpoints would prescribe otherwise."""
    options = ExportOptions(
        FLOAT32,
        agreed.cache_length,
        agreed.prefill_lengths,
        agreed.draft_length or 1,
        batch=agreed.batch,
        accelerator=agreed.accelerator,
        kv_dtype=agreed.kv_dtype,
        fixed_cache_length=agreed.placeholder is None,
    )
    expected = make_contract(pair.target_config, pair.drafter_config, options)
    names = [field.name for field in fields(Contract)]
    if pair.drafter is None:  # nothing to say about drafting
        names = [name for name in names if name not in ("draft_length", "drafter_donors")]
    return [
        f"{name}: the bundle has {getattr(agreed, name)}, its checkpoints ask for "
        f"{getattr(expected, name)}"
        for name in names
        if getattr(agreed, name) != getattr(expected, name)
    ]
