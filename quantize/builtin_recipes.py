"""The recipes that come with the tool.

A name is ``<plan>`` or ``<plan>-<algorithm>``. Most plans are named for a storage:
``int4-block32-clip`` stores the target's matrices in int4 with a scale per 32 elements, scales chosen
by squared error. Without an algorithm it is ``minmax``. Two plans are mixtures: ``mixed``, which spends
bits where Google's own bundle of E2B spends them, and ``smallest``.

Some rules are common to all. The drafter has int8 matrices unless a mixture says otherwise: it is
a fiftieth of the target's bytes, and a draft that is wrong costs a whole verification. Tables have a
scale per row. The small matrices of the per-layer embeddings, through which every layer's input
passes, are int8 wherever the others are in fewer bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from quantize.recipe import Algorithm, Recipe, Rule
from quantize.storage import Storage

TABLES = ("target.embed_tokens.weight", "target.embed_tokens_per_layer.weight")
"""Looked up, never multiplied: no calibration input reaches them."""

PER_LAYER_MATRICES = ("target.*per_layer_input_gate.weight", "target.*per_layer_*projection.weight")

Plan = tuple[tuple[str, Storage], ...]
"""Patterns and storages, to which an algorithm is added."""


def _uniform(storage: Storage, table: Storage) -> Plan:
    tables = tuple((name, table) for name in TABLES)
    small = tuple((pattern, Storage.INT8) for pattern in PER_LAYER_MATRICES)
    return (*tables, *small, ("target.*", storage), ("drafter.*", Storage.INT8))


MIXED: Plan = (
    ("target.embed_tokens.weight", Storage.INT8),
    ("target.embed_tokens_per_layer.weight", Storage.INT4),
    *((pattern, Storage.INT8) for pattern in PER_LAYER_MATRICES),
    ("target.*", Storage.INT4),
    ("drafter.*.mlp.*", Storage.INT4),
    ("drafter.lm_head.weight", Storage.INT4),
    ("drafter.*", Storage.INT8),
)

SMALLEST: Plan = (
    ("target.embed_tokens*", Storage.INT2),
    *((pattern, Storage.INT4) for pattern in PER_LAYER_MATRICES),
    ("target.*.self_attn.*", Storage.INT4),
    ("target.*", Storage.INT2),
    ("drafter.*", Storage.INT4),
)

PLANS: dict[str, tuple[str, Plan]] = {
    "int8": (
        "every matrix and table int8 per row",
        (("target.*", Storage.INT8), ("drafter.*", Storage.INT8)),
    ),
    "int4": (
        "target matrices and tables int4 per row, drafter int8 per row",
        (("target.*", Storage.INT4), ("drafter.*", Storage.INT8)),
    ),
    **{
        storage.value: (
            f"target matrices int4 in blocks of {storage.block}, tables int4 per row, per-layer "
            "matrices and drafter int8 per row",
            _uniform(storage, Storage.INT4),
        )
        for storage in (Storage.INT4_BLOCK32, Storage.INT4_BLOCK64, Storage.INT4_BLOCK128)
    },
    "mixed": (
        "int4 matrices and per-layer table; int8 embedding, per-layer matrices, and the drafter's "
        "attention and projections",
        MIXED,
    ),
    "smallest": (
        "the fewest bits that run: int2 MLPs, head and tables, int4 attention and drafter",
        SMALLEST,
    ),
}

ALGORITHMS = {
    Algorithm.MINMAX: "",
    Algorithm.CLIP: "; scales by least squared error",
    Algorithm.GPTQ: "; codes by GPTQ, tables' scales by least squared error",
}
"""What each algorithm adds to a summary."""


def _rules(plan: Plan, algorithm: Algorithm) -> Iterator[Rule]:
    """Rules of one algorithm. Tables have no inputs to calibrate with, so GPTQ leaves them to clip."""
    if algorithm is Algorithm.GPTQ:
        for table in TABLES:
            storage = next(s for pattern, s in plan if fnmatchcase(table, pattern))
            yield Rule(table, storage, Algorithm.CLIP)
    yield from (Rule(pattern, storage, algorithm) for pattern, storage in plan)


def built_in(name: str) -> Recipe | None:
    """The recipe of that name; None if there is none."""
    if name == FLOAT32.name:
        return FLOAT32
    plan, _, suffix = name.rpartition("-")
    algorithm = next((a for a in ALGORITHMS if a.value == suffix), Algorithm.MINMAX)
    if algorithm is Algorithm.MINMAX:
        plan = name
    if plan not in PLANS:
        return None
    summary, pairs = PLANS[plan]
    return Recipe(name, summary + ALGORITHMS[algorithm], tuple(_rules(pairs, algorithm)))


FLOAT32 = Recipe("float32", "every tensor as float32: the reference for parity", ())

PLAIN_NAMES = ("float32", *PLANS)
"""Names without an algorithm. A runtime can tell these apart, but not one algorithm from another."""


def _uncalibrated() -> Iterator[Recipe]:
    for name in (*PLAIN_NAMES, *(f"{plan}-{Algorithm.CLIP.value}" for plan in PLANS)):
        recipe = built_in(name)
        assert recipe is not None
        yield recipe


RECIPES = {recipe.name: recipe for recipe in _uncalibrated()}
"""Built-in recipes by name: all but those that need a calibration text."""
