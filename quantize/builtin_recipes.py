"""The recipes that come with the tool.

A name is ``<plan>`` or ``<plan>-<algorithm>``. Most plans are named for a storage:
``int4-block32-clip`` stores the target's matrices in int4 with a scale per 32 elements, scales chosen
by squared error. Without an algorithm it is ``minmax``. Two plans are mixtures: ``mixed``, which spends
bits where Google's own bundle of E2B spends them, and ``smallest``, which by itself is ``clip``: at 2
bits, minmax gives nothing but the largest weights.

Some rules are common to all. The drafter has int8 matrices unless a mixture says otherwise: it is
a fiftieth of the target's bytes, and a draft that is wrong costs a whole verification. Tables have a
scale per row. The small matrices of the per-layer embeddings, through which every layer's input
passes, are int8 wherever the others are in fewer bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from quantize.recipe import Algorithm, Recipe, Rule
from quantize.storage import Storage

TABLES = ("target.embed_tokens.weight", "target.embed_tokens_per_layer.weight")
"""Looked up, never multiplied: no calibration input reaches them."""

PER_LAYER_MATRICES = ("target.*per_layer_input_gate.weight", "target.*per_layer_*projection.weight")

Pairs = tuple[tuple[str, Storage], ...]
"""Patterns and storages, to which an algorithm is added."""


def _in_blocks(storage: Storage) -> Pairs:
    tables = tuple((name, Storage.INT4) for name in TABLES)
    small = tuple((pattern, Storage.INT8) for pattern in PER_LAYER_MATRICES)
    return (*tables, *small, ("target.*", storage), ("drafter.*", Storage.INT8))


MIXED: Pairs = (
    ("target.embed_tokens.weight", Storage.INT8),
    ("target.embed_tokens_per_layer.weight", Storage.INT4),
    *((pattern, Storage.INT8) for pattern in PER_LAYER_MATRICES),
    ("target.*", Storage.INT4),
    ("drafter.*.mlp.*", Storage.INT4),
    ("drafter.lm_head.weight", Storage.INT4),
    ("drafter.*", Storage.INT8),
)

SMALLEST: Pairs = (
    ("target.embed_tokens*", Storage.INT2),
    *((pattern, Storage.INT4) for pattern in PER_LAYER_MATRICES),
    ("target.*.self_attn.*", Storage.INT4),
    ("target.*", Storage.INT2),
    ("drafter.*", Storage.INT4),
)


@dataclass(frozen=True)
class RecipePlan:
    """A recipe without its algorithm; ``algorithm`` is the one that its plain name stands for."""

    summary: str
    pairs: Pairs
    algorithm: Algorithm = Algorithm.MINMAX


PLANS = {
    "int8": RecipePlan(
        "every matrix and table int8 per row",
        (("target.*", Storage.INT8), ("drafter.*", Storage.INT8)),
    ),
    "int4": RecipePlan(
        "target matrices and tables int4 per row, drafter int8 per row",
        (("target.*", Storage.INT4), ("drafter.*", Storage.INT8)),
    ),
    **{
        storage.value: RecipePlan(
            f"target matrices int4 in blocks of {storage.block}, tables int4 per row, per-layer "
            "matrices and drafter int8 per row",
            _in_blocks(storage),
        )
        for storage in (Storage.INT4_BLOCK32, Storage.INT4_BLOCK64, Storage.INT4_BLOCK128)
    },
    "mixed": RecipePlan(
        "int4 matrices and per-layer table; int8 embedding, per-layer matrices, and the drafter's "
        "attention and projections",
        MIXED,
    ),
    "smallest": RecipePlan(
        "the fewest bits that run: int2 MLPs, head and tables, int4 attention and drafter",
        SMALLEST,
        Algorithm.CLIP,
    ),
}

ALGORITHMS = {
    Algorithm.MINMAX: "; scales by the largest magnitude",
    Algorithm.CLIP: "; scales by least squared error",
    Algorithm.GPTQ: "; codes by GPTQ, tables' scales by least squared error",
}
"""What each algorithm adds to a summary."""


def _rules(pairs: Pairs, algorithm: Algorithm) -> Iterator[Rule]:
    """Rules of one algorithm. Tables have no inputs to calibrate with, so GPTQ leaves them to clip."""
    if algorithm is Algorithm.GPTQ:
        for table in TABLES:
            storage = next(s for pattern, s in pairs if fnmatchcase(table, pattern))
            yield Rule(table, storage, Algorithm.CLIP)
    yield from (Rule(pattern, storage, algorithm) for pattern, storage in pairs)


def built_in(name: str) -> Recipe | None:
    """The recipe of that name; None if there is none."""
    if name == FLOAT32.name:
        return FLOAT32
    if name in PLANS:
        plan, algorithm = PLANS[name], PLANS[name].algorithm
    else:
        stem, _, suffix = name.rpartition("-")
        if stem not in PLANS or suffix not in list(Algorithm):
            return None
        plan, algorithm = PLANS[stem], Algorithm(suffix)
    summary = plan.summary + ALGORITHMS[algorithm]
    return Recipe(name, summary, tuple(_rules(plan.pairs, algorithm)))


FLOAT32 = Recipe("float32", "every tensor as float32: the reference for parity", ())


def int8_tower(kind: str) -> Rule:
    """How a recipe that says nothing of a tower stores it.

    A picture or a clip passes through it once, and a tower is small: E2B's have a thirtieth (vision) and a
    seventeenth (audio) of the text model's parameters.
    """
    return Rule(f"{kind}.*", Storage.INT8)


def covering_towers(recipe: Recipe, kinds: Iterable[str]) -> Recipe:
    """The recipe for a bundle with these towers; float32 stays float32."""
    if not recipe.rules:
        return recipe
    patterns = [rule.pattern for rule in recipe.rules]
    silent = [k for k in kinds if not any(pattern.startswith(f"{k}.") for pattern in patterns)]
    return replace(recipe, rules=(*recipe.rules, *map(int8_tower, silent)))


PLAIN_NAMES = ("float32", *PLANS)
"""Names without an algorithm. A runtime can tell these apart, but not one algorithm from another."""


def _uncalibrated() -> Iterator[Recipe]:
    clipped = (f"{n}-clip" for n, plan in PLANS.items() if plan.algorithm is not Algorithm.CLIP)
    for name in (*PLAIN_NAMES, *clipped):
        recipe = built_in(name)
        assert recipe is not None
        yield recipe


RECIPES = {recipe.name: recipe for recipe in _uncalibrated()}
"""Built-in recipes by name: all but those that need a calibration text."""
