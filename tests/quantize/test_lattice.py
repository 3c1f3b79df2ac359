"""The int4 lattice under bfloat16 values: found where it is, not where it is not, and nothing is lost.

What "nothing is lost" means here, bit by bit: ``bfloat16(code * scale)``, with the scale as it is stored
in float16, is the checkpoint's value. Torch does the rounding on the test's side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from exporter.bundle.reader import open_bundle
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.options import ExportOptions
from exporter.pipeline import export
from exporter.verify.sides.stored_weights import StoredConstant, stored_constants
from quantize.bfloat16 import Floats, to_bfloat16
from quantize.builtin_recipes import RECIPES
from quantize.lattice import BLOCK, find_lattice
from tests.bundles import TINY_DRAFTER, TINY_TARGET

MOST_ROUNDED = 0.03
"""Share of blocks for which no float16 suits all 32 values when the step that was trained is any
float32. Measured: 0.019."""


def rounded(values: Floats) -> Floats:
    result: Floats = torch.from_numpy(values).bfloat16().float().numpy()
    return result


def steps(kind: str, source: np.random.Generator, count: int) -> Floats:
    """Steps of about 0.002, exact in the bits of ``kind``."""
    exact = np.exp(source.normal(-6, 0.7, count)).astype(np.float32)
    if kind == "bfloat16":
        return rounded(exact)
    return exact.astype(np.float16).astype(np.float32) if kind == "float16" else exact


def on_lattice(step: Floats, codes: NDArray[np.float64]) -> Floats:
    """Values as fake quantisation in bfloat16 leaves them."""
    return rounded((step[:, None] * codes).astype(np.float32))


def restored(codes: NDArray[np.int8], scales: Floats) -> Floats:
    return rounded((codes.reshape(-1, BLOCK) * scales.reshape(-1, 1)).astype(np.float32))


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["bfloat16", "float16"]),
    st.integers(0, 2**32 - 1),
    st.floats(0.2, 6.0),
    st.integers(1, 8),
)
def test_nothing_is_lost(kind: str, seed: int, spread: float, columns: int) -> None:
    """Whatever the codes: many, few, all of one sign, peaks below the largest."""
    source = np.random.default_rng(seed)
    codes = np.clip(np.rint(source.normal(0, spread, (24 * columns, BLOCK))), -8, 7)
    values = on_lattice(steps(kind, source, len(codes)), codes)
    found = find_lattice(values.reshape(24, -1))
    assert found.found.all()
    assert found.exact.all()
    assert np.array_equal(restored(found.codes, found.scales), values)
    assert (found.scales > 0).all()
    assert np.array_equal(found.scales.astype(np.float16).astype(np.float32), found.scales)
    if kind == "bfloat16":  # then XNNPACK, which keeps 8 bits of a scale, computes with it, too
        assert np.array_equal(to_bfloat16(found.scales), found.scales)


def test_any_step_keeps_its_codes() -> None:
    """With steps that float16 cannot hold some values come out a bfloat16 step aside, and are counted."""
    source = np.random.default_rng(1)
    codes = np.clip(np.rint(source.normal(0, 3, (20_000, BLOCK))), -8, 7)
    codes[:, 0] = -8  # so that there is one answer
    values = on_lattice(steps("float32", source, len(codes)), codes)
    found = find_lattice(values)
    assert np.array_equal(found.codes, codes.astype(np.int8))
    equal = restored(found.codes, found.scales) == values
    assert np.array_equal(found.exact[:, 0], equal.all(axis=1))
    assert 0 < 1 - found.exact.mean() < MOST_ROUNDED
    off = np.abs(restored(found.codes, found.scales) - values)[~equal] / np.abs(values[~equal])
    assert off.max() <= 2**-7  # one step of bfloat16


def test_no_float16_suits_a_rounded_block() -> None:
    """A block counts as rounded only if trying every float16 near its step finds none."""
    source = np.random.default_rng(2)
    codes = np.clip(np.rint(source.normal(0, 3, (3_000, BLOCK))), -8, 7)
    codes[:, 0] = -8
    values = on_lattice(steps("float32", source, len(codes)), codes)
    found = find_lattice(values)
    hard = np.flatnonzero(~found.exact[:, 0])
    assert len(hard)
    for block in hard:
        bits = found.scales[block].astype(np.float16).view(np.uint16).astype(int)
        near = np.arange(bits[0] - 8, bits[0] + 9).astype(np.uint16).view(np.float16)
        tried = rounded((near.astype(np.float32)[:, None] * codes[block]).astype(np.float32))
        assert not (tried == values[block]).all(axis=1).any()


@pytest.mark.parametrize("bits", [5, 8])
def test_other_lattices_are_not_taken_for_it(bits: int) -> None:
    source = np.random.default_rng(3)
    limit = 1 << (bits - 1)
    codes = np.clip(np.rint(source.normal(0, limit / 3, (500, BLOCK))), -limit, limit - 1)
    codes[:, 0], codes[:, 1] = -limit, limit - 1
    found = find_lattice(on_lattice(steps("bfloat16", source, len(codes)), codes))
    assert not found.found.any()


def test_ordinary_weights_are_not_on_it() -> None:
    values = rounded(np.random.default_rng(4).normal(0, 0.02, (2_000, BLOCK)).astype(np.float32))
    assert not find_lattice(values).found.any()


def test_float32_values_are_not_on_it() -> None:
    """A product that was not rounded to 16 bits was not made by such a training."""
    source = np.random.default_rng(5)
    codes = np.clip(np.rint(source.normal(0, 3, (500, BLOCK))), -8, 7)
    values = (steps("float32", source, len(codes))[:, None] * codes).astype(np.float32)
    assert find_lattice(values).found.mean() < 0.01


def test_one_value_off_is_noticed() -> None:
    """The next bfloat16 is not a multiple any more."""
    source = np.random.default_rng(6)
    codes = source.integers(1, 8, (300, BLOCK)).astype(np.float64)
    codes[:, 0] = -8
    values = on_lattice(steps("bfloat16", source, len(codes)), codes)
    bits = values.view(np.uint32)
    bits[:, 5] += 0x20000
    assert find_lattice(values).found.mean() < 0.1


def test_a_step_beyond_float16_cannot_be_stored() -> None:
    """Where half the step with twice the codes can be, it is."""
    codes = np.tile(np.arange(-4.0, 4.0), 4)
    found = find_lattice(
        on_lattice(np.array([2.0**18, 2.0**16], np.float32), np.stack([codes] * 2))
    )
    assert found.found.ravel().tolist() == [False, True]
    assert found.scales.ravel().tolist() == [1.0, 2.0**15]
    assert (found.codes[1] == 2 * codes).all()


def test_zeros_and_odd_lengths() -> None:
    found = find_lattice(np.zeros((2, 64), np.float32))
    assert found.found.all()
    assert (found.scales == 1).all()
    with pytest.raises(ValueError, match="multiple of 32"):
        find_lattice(np.zeros((2, 48), np.float32))


def write_trained(source: Path, folder: Path, kind: str) -> Path:
    """A checkpoint whose linear layers and tables lie on the lattice, but for ``per_layer_projection``."""
    folder.mkdir()
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    random = np.random.default_rng(7)
    tensors = load_file(source / "model.safetensors")
    for name, tensor in tensors.items():
        if tensor.dim() != 2 or "vision" in name or "per_layer_projection" in name:
            continue
        blocks = tensor.float().numpy().reshape(-1, BLOCK)
        peak = np.abs(blocks).max(axis=1) / random.choice([5.5, 6.5, 7.5], len(blocks))
        step = steps_like(peak, kind)
        codes = np.clip(np.rint(blocks / step[:, None]), -8, 7)
        values = torch.from_numpy(on_lattice(step, codes))
        tensors[name] = values.bfloat16().reshape(tensor.shape)
    save_file(tensors, folder / "model.safetensors")
    return folder


def steps_like(peak: Floats, kind: str) -> Floats:
    return rounded(peak.astype(np.float32)) if kind == "bfloat16" else peak.astype(np.float32)


def stored(bundle: Path) -> dict[str, StoredConstant]:
    return {n: c for s in stored_constants(open_bundle(bundle)).values() for n, c in s.items()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bfloat16", "float32"])
def test_checkpoint_is_stored_as_it_was_trained(kind: str, tmp_path: Path) -> None:
    """Target and drafter: every value of every matrix on the lattice, and the others by the recipe."""
    target = open_checkpoint(write_trained(TINY_TARGET, tmp_path / "target", kind))
    drafter = open_checkpoint(write_trained(TINY_DRAFTER, tmp_path / "drafter", kind))
    options = ExportOptions(RECIPES["int8"])
    bundle = export(target, drafter, tmp_path / "x.litertlm", options).output
    manifest = open_bundle(bundle).manifest()
    assert manifest is not None
    codes, constants = manifest["trained_codes"], stored(bundle)
    assert len(codes) > 80
    for name, (origin, storage, off) in codes.items():
        assert (origin, storage) == ("lattice", "int4-block32")
        constant = constants[name]
        values = checkpoint_values(name, target.folder, drafter.folder)
        equal = rounded(constant.floats(0, constant.rows)) == values
        blocks_off = (~equal).reshape(-1, BLOCK).any(axis=1).sum()
        assert blocks_off == off, name
        assert (off == 0) == (kind == "bfloat16") or off / constant.scales.size < MOST_ROUNDED, name
    assert "target.layers.0.per_layer_projection.weight" not in codes
    assert constants["target.layers.0.per_layer_projection.weight"].dtype == "int8"


def checkpoint_values(name: str, target: Path, drafter: Path) -> Floats:
    """A matrix of the checkpoints, read by the safetensors library."""
    model, _, parameter = name.partition(".")
    tensors = load_file((target if model == "target" else drafter) / "model.safetensors")
    prefix = "model.language_model." if model == "target" else "model."
    parameter = parameter.replace("lm_head", "embed_tokens")
    found = tensors.get(prefix + parameter, tensors.get(parameter))
    assert found is not None
    result: Floats = found.float().numpy()
    return result


@pytest.mark.slow
def test_ordinary_checkpoint_has_no_trained_codes(tmp_path: Path) -> None:
    options = ExportOptions(RECIPES["int8"])
    pair = open_checkpoint(TINY_TARGET), open_checkpoint(TINY_DRAFTER)
    bundle = export(*pair, tmp_path / "x.litertlm", options).output
    manifest = open_bundle(bundle).manifest()
    assert manifest is not None
    assert manifest["trained_codes"] == {}
