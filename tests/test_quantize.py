"""Storage of rows: how far codes may be from values, packing, and which rule decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from quantize.arrays import (
    LARGEST_CODE,
    dequantize_rows,
    pack_int4,
    quantize_rows,
    store_rows,
    unpack_int4,
)
from quantize.recipe import RECIPES, Recipe, Rule, Storage

QUANTISED = [Storage.INT8, Storage.INT4]

HALF_STEP = 0.5 * (1 + 1e-4)
"""Rounding to the nearest code errs by half a scale; the rest is float32 rounding of x / scale, at
most 127 codes times a few parts in 1e7."""

LARGEST = 2.0**99
"""Beyond any weight, and far enough below float32's limit that differences stay finite."""

VANISHED = 2e-36
"""Largest error of a row whose scale would not be a normal float32: such a row is stored as 0."""

SHAPES = npst.array_shapes(min_dims=2, max_dims=2, max_side=12)
ELEMENTS = st.floats(-LARGEST, LARGEST, width=32)
ROWS = npst.arrays(np.float32, SHAPES, elements=ELEMENTS)


@pytest.mark.parametrize("storage", QUANTISED)
@given(rows=ROWS)
def test_values_come_back_within_half_a_step(storage: Storage, rows: NDArray[np.float32]) -> None:
    codes, scales = quantize_rows(rows.copy(), storage)
    error = np.abs(dequantize_rows(codes, scales).astype(np.float64) - rows)
    assert (error <= np.maximum(HALF_STEP * scales[:, None], VANISHED)).all()


@pytest.mark.parametrize("storage", QUANTISED)
@given(rows=ROWS)
def test_scales_are_as_fine_as_the_row_allows(storage: Storage, rows: NDArray[np.float32]) -> None:
    """The largest value gets the largest code, so no step is wider than it must be."""
    codes, scales = quantize_rows(rows.copy(), storage)
    peak, largest = np.abs(rows).max(axis=1), LARGEST_CODE[storage]
    assert np.isfinite(scales).all()
    assert (scales >= np.finfo(np.float32).tiny).all()
    assert (np.abs(codes.astype(int)) <= largest).all()
    full = peak > VANISHED
    assert (np.abs(codes.astype(int)).max(axis=1)[full] == largest).all()


@pytest.mark.parametrize("storage", QUANTISED)
@given(rows=ROWS, cut=st.integers(1, 11))
def test_blocks_of_rows_are_independent(
    storage: Storage, rows: NDArray[np.float32], cut: int
) -> None:
    """Streaming a matrix block by block gives the bytes of quantising it whole."""
    rows = np.concatenate([rows, rows], axis=1)
    whole = store_rows(rows.copy(), storage)
    parts = [store_rows(part.copy(), storage) for part in (rows[:cut], rows[cut:]) if len(part)]
    assert b"".join(part.data for part in parts) == whole.data
    assert np.array_equal(np.concatenate([part.scales for part in parts]), whole.scales)
    assert len(whole.data) * 8 == rows.size * storage.bits


@given(
    codes=npst.arrays(
        np.int8, st.tuples(st.integers(1, 9), st.integers(1, 9).map(lambda n: 2 * n)),
        elements=st.integers(-8, 7),
    )
)  # fmt: skip
def test_pack_and_unpack_are_inverse(codes: NDArray[np.int8]) -> None:
    packed = pack_int4(codes)
    assert len(packed) == codes.size // 2
    rows, columns = codes.shape
    assert np.array_equal(unpack_int4(packed, (rows, columns)), codes)


def test_the_earlier_code_is_in_the_low_half() -> None:
    """LiteRT's order; the inverse test alone would not notice both halves swapped."""
    assert pack_int4(np.array([[1, -2, 7, 0]], np.int8)) == bytes([0xE1, 0x07])


def test_odd_rows_cannot_be_packed() -> None:
    with pytest.raises(ValueError, match="even length, found 3"):
        store_rows(np.ones((2, 3), np.float32), Storage.INT4)


def test_float32_is_stored_as_it_is() -> None:
    rows = np.array([[1.5, -0.0], [np.pi, 1e-42]], np.float32)
    stored = store_rows(rows, Storage.FLOAT32)
    assert stored.data == rows.tobytes()
    assert stored.scales.size == 0


def test_a_row_of_zeros() -> None:
    """Unused rows of a table: codes 0, and a scale that divides."""
    codes, scales = quantize_rows(np.zeros((2, 4), np.float32), Storage.INT8)
    assert not codes.any()
    assert scales.tolist() == [1.0, 1.0]


def test_the_first_matching_rule_decides() -> None:
    rules = (
        Rule("target.layers.0.*", Storage.FLOAT32),
        Rule("target.*.gate_proj.weight", Storage.INT4),
        Rule("target.*", Storage.INT8),
    )
    recipe = Recipe("mine", "", rules)
    assert recipe.storage("target.layers.0.mlp.gate_proj.weight") is Storage.FLOAT32
    assert recipe.storage("target.layers.1.mlp.gate_proj.weight") is Storage.INT4
    assert recipe.storage("target.layers.1.mlp.up_proj.weight") is Storage.INT8
    assert recipe.storage("drafter.lm_head.weight") is Storage.FLOAT32
    backwards = Recipe("mine", "", rules[::-1])
    assert backwards.storage("target.layers.0.mlp.gate_proj.weight") is Storage.INT8


def test_unmatched_patterns() -> None:
    """Patterns that match no tensor, even if an earlier rule takes all the tensors they match."""
    recipe = Recipe(
        "mine",
        "",
        (
            Rule("target.*", Storage.INT4),
            Rule("target.a", Storage.INT8),
            Rule("target.layer.*", Storage.INT8),
            Rule("Drafter.*", Storage.INT8),
        ),
    )
    names = iter(["target.a", "drafter.b"])
    assert recipe.unmatched(names) == ["target.layer.*", "Drafter.*"]
    assert recipe.unmatched([]) == [rule.pattern for rule in recipe.rules]


@pytest.mark.parametrize(
    ("recipe", "target", "drafter"),
    [("float32", 32, 32), ("int8", 8, 8), ("int4", 4, 8)],
)
def test_built_in_recipes(recipe: str, target: int, drafter: int) -> None:
    assert RECIPES[recipe].storage("target.layers.3.mlp.gate_proj.weight").bits == target
    assert RECIPES[recipe].storage("target.embed_tokens.weight").bits == target
    assert RECIPES[recipe].storage("drafter.lm_head.weight").bits == drafter


def test_recipes_are_filed_under_their_names() -> None:
    assert {name: recipe.name for name, recipe in RECIPES.items()} == {n: n for n in RECIPES}
