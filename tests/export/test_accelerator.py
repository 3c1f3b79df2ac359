"""Bundles for the CPU and for the GPU, as far as that needs neither a graph nor a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from exporter.bundle.stored_contract import contract_block, parsed_contract
from exporter.cli.main import cli
from exporter.contract.caches import KvCache
from exporter.contract.names import INPUT_POS, PARAM_TENSOR, Accelerator, Dtype, TensorSpec
from exporter.contract.text import Contract
from exporter.errors import ConfigError
from tests.bundles import TINY_DRAFTER, TINY_TARGET

CPU = Contract(
    hidden_size=8,
    layer_count=2,
    per_layer_width=4,
    vocab_size=16,
    sliding_window=4,
    cache_length=32,
    placeholder=None,
    prefill_lengths=(16,),
    draft_length=3,
    kv_caches=(KvCache(0, 1, 4, sliding=True), KvCache(1, 1, 8, sliding=False)),
    drafter_donors=(0, 1),
)
GPU = replace(CPU, accelerator=Accelerator.GPU)


def test_graphs_for_the_gpu_are_told_which_slots_are_in_use() -> None:
    for section, signatures in GPU.section_signatures().items():
        for name, spec in signatures.items():
            reads_caches = INPUT_POS in spec.inputs
            assert (PARAM_TENSOR in spec.inputs) is reads_caches
            without = {key: value for key, value in spec.inputs.items() if key != PARAM_TENSOR}
            assert without == CPU.section_signatures()[section][name].inputs
    assert GPU.drafter_signature().inputs[PARAM_TENSOR] == TensorSpec((1, 1, 1, 7), Dtype.INT32)


def test_the_manifest_says_what_a_bundle_is_for() -> None:
    assert parsed_contract(contract_block(GPU)) == GPU
    before = {key: value for key, value in contract_block(CPU).items() if key != "accelerator"}
    assert parsed_contract(before) == CPU


@pytest.mark.slow
def test_a_centroid_head_is_not_for_the_gpu(tmp_path: Path) -> None:
    arguments = ["export", str(TINY_TARGET), str(TINY_DRAFTER), "-o", str(tmp_path / "x.litertlm")]
    options = ["--accelerator", "gpu", "--drafter-head", "centroid"]
    done = CliRunner().invoke(cli, [*arguments, *options])
    assert isinstance(done.exception, ConfigError)
    assert "--drafter-head full" in str(done.exception)
    assert not list(tmp_path.iterdir())
