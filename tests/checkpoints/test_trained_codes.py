"""Which weights keep the codes of their training, without a whole export."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.checkpoint import Checkpoint, open_checkpoint
from exporter.checkpoints.configs.config import parse_target
from exporter.checkpoints.lora.adapter import open_adapter
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.progress import SilentReporter
from exporter.weights.matching import Weight, find_weights
from exporter.weights.parameters import parameter_specs
from exporter.weights.trained_codes import Kept, keep_trained_codes
from quantize.storage import Storage
from tests.adapters import TEXT, make_adapter
from tests.bundles import TINY_TARGET
from tests.packed_target import E2B_BITS, write_packed
from tests.quantize.test_lattice import write_trained

TABLE = "embed_tokens_per_layer"


@contextmanager
def kept(target: Checkpoint) -> Iterator[Kept]:
    """Weights of a target; they can be read within the block."""
    specs = parameter_specs(parse_target(target.config, ""), None, HeadKind.FULL)
    with TensorReader() as reader:
        found = find_weights(specs, target, None, reader)
        yield keep_trained_codes(found, {}, SilentReporter())


def named(found: Kept, name: str) -> Weight:
    every = [weight for section in found.weights.values() for weight in section.values()]
    return next(weight for weight in every if weight.name == f"target.{name}.weight")


@pytest.mark.parametrize("kind", ["packed", "lattice"])
def test_an_adapter_takes_its_weights_out(kind: str, tmp_path: Path) -> None:
    """They have other values now, which the recipe quantises; the others keep their codes."""
    folder = tmp_path / "target"
    if kind == "packed":
        write_packed(TINY_TARGET, folder, E2B_BITS)
    else:
        write_trained(TINY_TARGET, folder, "bfloat16")
    make_adapter(TINY_TARGET, tmp_path / "adapter", target_modules=TEXT + "(q_proj|up_proj)")
    plain = open_checkpoint(folder)
    adapted = replace(plain, adapter=open_adapter(tmp_path / "adapter"))
    with kept(plain) as before, kept(adapted) as after:
        gone = before.codes.keys() - after.codes.keys()
        parts = {name.rsplit(".", 2)[1] for name in gone}
        assert parts == {"q_proj", "up_proj"}
        assert len(gone) == 16
        name = "layers.0.self_attn.q_proj"
        base, merged = named(before, name), named(after, name)
        change = next(iter(merged.blocks())) - next(iter(base.blocks()))
        factors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
        prefix = f"base_model.model.model.language_model.{name}.lora_"
        expected = 1.5 * factors[f"{prefix}B.weight"] @ factors[f"{prefix}A.weight"]
        assert np.allclose(change, expected.numpy(), atol=1e-6)
        assert merged.ready is None


def edited(folder: Path, module: str, part: str, change: torch.Tensor) -> Checkpoint:
    tensors = load_file(folder / "model.safetensors")
    tensors[f"model.language_model.{module}.{part}"] = change
    save_file(tensors, folder / "model.safetensors")
    return open_checkpoint(folder)


def test_a_scale_of_zero_becomes_the_smallest(tmp_path: Path) -> None:
    """Kernels want positive scales; what it stands for is zero to float32's precision."""
    folder = write_packed(TINY_TARGET, tmp_path / "target", E2B_BITS).folder
    module = "layers.0.mlp.up_proj"
    scales = torch.full((256, 1), 0.01)
    scales[3] = 0
    with kept(edited(folder, module, "weight_scale", scales)) as found:
        ready = named(found, module).ready
        assert ready is not None
        stored = next(iter(ready.blocks())).scales
    assert 0 < stored[3] < 1e-37
    assert (np.delete(stored, 3) == np.float32(0.01)).all()


def test_groups_that_no_block_fits_are_left_to_the_recipe(tmp_path: Path) -> None:
    """Groups of 16 codes: smaller than any block that kernels read."""
    folder = write_packed(TINY_TARGET, tmp_path / "target", E2B_BITS).folder
    scales = torch.full((2048, 16), 0.01)
    with kept(edited(folder, TABLE, "embedding_scale", scales)) as found:
        assert f"target.{TABLE}.weight" not in found.codes
        assert named(found, TABLE).ready is None
        assert named(found, "embed_tokens").ready is not None


def test_larger_groups_become_several_blocks(tmp_path: Path) -> None:
    folder = write_packed(TINY_TARGET, tmp_path / "target", E2B_BITS).folder
    scales = torch.tensor([[0.5, 0.25]]).repeat(2048, 1)  # one for each half of 256 elements
    with kept(edited(folder, TABLE, "embedding_scale", scales)) as found:
        ready = named(found, TABLE).ready
        assert ready is not None
        assert ready.storage is Storage.INT4_BLOCK128
        stored = next(iter(ready.blocks())).scales
    assert np.array_equal(stored, scales.numpy())


def test_one_block_off_the_lattice_gives_a_tensor_to_the_recipe(tmp_path: Path) -> None:
    """However late in the tensor."""
    folder = write_trained(TINY_TARGET, tmp_path / "target", "bfloat16")
    module = "layers.5.mlp.down_proj"
    tensor = load_file(folder / "model.safetensors")[f"model.language_model.{module}.weight"]
    tensor[-1, -32:] = torch.linspace(0.01, 0.02, 32)
    with kept(edited(folder, module, "weight", tensor)) as found:
        assert f"target.{module}.weight" not in found.codes
        assert "target.layers.4.mlp.down_proj.weight" in found.codes


def test_zeros_are_on_no_lattice(tmp_path: Path) -> None:
    folder = write_trained(TINY_TARGET, tmp_path / "target", "bfloat16")
    zeros = torch.zeros(128, 512, dtype=torch.bfloat16)
    with kept(edited(folder, "layers.5.mlp.down_proj", "weight", zeros)) as found:
        assert "target.layers.5.mlp.down_proj.weight" not in found.codes
