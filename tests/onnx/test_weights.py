"""Stored weights: the values are a bundle's, bit for bit, and models share their bytes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from exporter.bundle.reader import open_bundle
from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.checkpoints.tensors.tensor_names import TOKEN_ORDERING
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import TensorSpec
from exporter.errors import RecipeError
from exporter.onnx import encodings
from exporter.onnx.encodings import encoding_of
from exporter.onnx.weight_files import ALIGNMENT
from exporter.verify.sides.stored_weights import stored_constants
from exporter.weights.matching import Weight
from quantize.storage import Storage
from tests.onnx.conftest import RECIPES
from tests.onnx.reading import External, external, models, stored_values


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_values_are_those_of_the_bundle(
    recipe: str, folders: dict[str, Path], tiny_bundles: dict[str, Path]
) -> None:
    """Read back from both by different code: codes times scales, float32, and the token ordering."""
    ours = stored_values(folders[recipe])
    seen = 0
    for constants in stored_constants(open_bundle(tiny_bundles[recipe])).values():
        for name, constant in constants.items():
            theirs: Any
            if name.endswith(TOKEN_ORDERING):
                theirs = constant.integers().ravel()
            else:
                theirs = constant.floats(0, constant.rows).ravel()
            np.testing.assert_array_equal(ours[name], theirs, err_msg=name)
            seen += 1
    assert seen == len(ours)


def test_models_share_their_weights(folders: dict[str, Path]) -> None:
    """decode, verify and the prefills refer to the same bytes; nothing else overlaps."""
    folder = folders["int4"]
    by_model = {name: external(model) for name, model in models(folder).items()}
    decode, verify = by_model["decode"], by_model["verify"]
    assert decode == verify
    for name in ("prefill_128", "prefill_1024"):
        assert by_model[name].items() <= decode.items()
    every = [entry for entries in by_model.values() for entry in entries.values()]
    for file in {entry.file for entry in every}:
        size, regions = (folder / file).stat().st_size, _regions(every, file)
        assert all(begin % ALIGNMENT == 0 for begin, _ in regions)
        assert all(end <= following for (_, end), (following, _) in pairwise(regions))
        assert regions[-1][1] == size


def _regions(entries: list[External], file: str) -> list[tuple[int, int]]:
    return sorted({(e.offset, e.offset + e.length) for e in entries if e.file == file})


def test_a_tied_table_is_stored_once(folders: dict[str, Path]) -> None:
    """The token table and the head are one tensor of the checkpoint, stored alike in int4."""
    found = {name: external(model) for name, model in models(folders["int4"]).items()}
    table = found["embedder"]["target.embed_tokens.weight"]
    head = found["decode"]["target.lm_head.weight"]
    assert (table.file, table.offset, table.length) == (head.file, head.offset, head.length)


def test_a_table_in_another_storage_is_not_shared(folders: dict[str, Path]) -> None:
    """In blocks of 32 the head is; the table has a scale per row."""
    found = {name: external(model) for name, model in models(folders["int4-block32"]).items()}
    table = found["embedder"]["target.embed_tokens.weight"]
    assert table.offset != found["decode"]["target.lm_head.weight"].offset


def matrix(row_length: int) -> Weight:
    """A weight of which only name and shape are looked at."""
    spec = TensorSpec((4, row_length))
    return Weight("target.odd.weight", spec, cast("StoredTensor", None), cast("TensorReader", None))


def test_rows_that_onnx_runtime_cannot_quantise_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"target\.odd\.weight has rows of 24 .* multiple of 16"):
        encoding_of(matrix(24), Storage.INT8)
    assert encoding_of(matrix(24), Storage.FLOAT32) is None


@pytest.mark.parametrize(
    ("storage", "row_length", "block"),
    [
        (Storage.INT8, 1536, 256),
        (Storage.INT4, 192, 64),
        (Storage.INT2, 1536, 128),
        (Storage.INT4_BLOCK32, 1536, 32),
    ],
)
def test_blocks_are_as_long_as_kernels_take_them(
    storage: Storage, row_length: int, block: int
) -> None:
    found = encoding_of(matrix(row_length), storage)
    assert found is not None
    assert (found.bits, found.block) == (storage.bits, block)


def test_a_storage_without_a_kernel_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it would be for a storage that is added for LiteRT alone."""
    monkeypatch.delitem(encodings.SIGNS, 2)
    with pytest.raises(RecipeError) as refused:
        encoding_of(matrix(1536), Storage.INT2)
    assert "target.odd.weight would be stored as int2" in str(refused.value)
    assert "offers float32, int8, int4, int4-block32" in str(refused.value)
    assert "--format litertlm" in str(refused.value)
