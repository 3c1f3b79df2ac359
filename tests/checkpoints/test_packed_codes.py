"""Checkpoints of integer codes: what transformers' own modules wrote is stored unchanged, and runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import Gemma4ForConditionalGeneration
from transformers.integrations.gemma_quant import QuantizedEmbedding, QuantizedLinear

from exporter.bundle.reader import open_bundle
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.contract.names import Section
from exporter.errors import CheckpointError
from exporter.options import ExportOptions
from exporter.pipeline import export
from exporter.verify.sides.golden import NO_GROUPS
from exporter.verify.sides.stored_weights import StoredConstant, stored_constants
from quantize.arrays import unpack
from quantize.builtin_recipes import RECIPES
from tests.bundles import TINY_DRAFTER, TINY_TARGET
from tests.packed_target import E2B_BITS, E4B_BITS, Packed, write_packed
from tests.weight_values import values

PREFIX = "model.language_model."


@pytest.fixture(scope="module", params=["e2b", "e4b"])
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    folder = tmp_path_factory.mktemp(request.param) / "target"
    return write_packed(TINY_TARGET, folder, E2B_BITS if request.param == "e2b" else E4B_BITS)


of_one_shape = pytest.mark.parametrize("packed", ["e2b"], indirect=True)


def exported(folder: Path, output: Path, **options: Any) -> Path:
    wanted = ExportOptions(RECIPES["int8"], **options)
    return export(open_checkpoint(folder), open_checkpoint(TINY_DRAFTER), output, wanted).output


@pytest.fixture(scope="module")
def bundle(packed: Packed) -> Path:
    return exported(packed.folder, packed.folder.parent / "x.litertlm")


def constants(bundle: Path) -> dict[str, StoredConstant]:
    """Stored weights by the name of their module within the text model."""
    sections = stored_constants(open_bundle(bundle))
    return {
        name.removeprefix("target.").removesuffix(".weight"): constant
        for section in sections.values()
        for name, constant in section.items()
    }


def quantised_modules(model: Gemma4ForConditionalGeneration) -> Mapping[str, Any]:
    return {
        name.removeprefix(PREFIX): module
        for name, module in model.named_modules()
        if isinstance(module, QuantizedLinear | QuantizedEmbedding)
    }


@pytest.mark.skipif(
    metadata.version("transformers") in NO_GROUPS,
    reason="this transformers refuses published files",
)
def test_transformers_reads_the_same_file(packed: Packed) -> None:
    """The fixture is in the format: from_pretrained gives the modules that wrote it, code by code."""
    loaded = Gemma4ForConditionalGeneration.from_pretrained(packed.folder, dtype=torch.float32)
    theirs = loaded.state_dict()
    for name, tensor in packed.model.state_dict().items():
        assert torch.equal(theirs[name], tensor.to(theirs[name].dtype)), name
    assert isinstance(loaded.lm_head, QuantizedLinear)


@pytest.mark.slow
def test_codes_and_scales_are_unchanged(packed: Packed, bundle: Path) -> None:
    """Every packed matrix, code by code, against what transformers unpacks."""
    stored = constants(bundle)
    modules = quantised_modules(packed.model)
    assert len(modules) > 60
    for name, module in modules.items():
        table = isinstance(module, QuantizedEmbedding)
        scales = (module.embedding_scale if table else module.weight_scale).numpy()
        ours, per_group = stored[name], stored[name].scales.shape[1] // scales.shape[1]
        codes = unpack(ours.data.tobytes(), ours.bits, (ours.rows, ours.row_length))
        assert np.array_equal(codes, whole_codes(module)), name
        if scales.shape[1] == 1:
            assert ours.bits == module.num_bits, name
            assert np.array_equal(ours.scales, scales), name
        else:  # blocks have float16 scales
            assert name == "embed_tokens_per_layer"
            halves = np.repeat(scales.astype(np.float16).astype(np.float32), per_group, axis=1)
            assert np.array_equal(ours.scales, halves)


def whole_codes(module: QuantizedLinear | QuantizedEmbedding) -> NDArray[np.int8]:
    """A module's codes, from its own dequantisation with scales of one."""
    if isinstance(module, QuantizedEmbedding):
        ones = torch.ones_like(module.embedding_scale)
        values = module._dequantize_weights(module.embedding_quantized, ones)
    else:
        values = module._dequantize_weights() / module.weight_scale
    codes: NDArray[np.int8] = values.round().to(torch.int8).numpy()
    return codes


def test_values_are_transformers(packed: Packed) -> None:
    """What recipes, adapters and parity read."""
    ours = values(open_checkpoint(packed.folder), None)
    for name, module in quantised_modules(packed.model).items():
        expected = (
            module.weight
            if isinstance(module, QuantizedEmbedding)
            else module._dequantize_weights()
        )
        assert np.array_equal(ours[f"target.{name}.weight"], expected.detach().numpy()), name


@pytest.mark.slow
def test_manifest_tells(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest()
    assert manifest is not None
    codes = manifest["trained_codes"]
    assert codes["target.layers.0.mlp.up_proj.weight"] == ["packed", "int4", 0]
    assert codes["target.lm_head.weight"] == ["packed", "int2", 0]
    assert codes["target.embed_tokens_per_layer.weight"][:2] == ["packed", "int4-block32"]
    assert (
        "target.per_layer_model_projection.weight" not in codes
    )  # a float matrix of the checkpoint
    stored = manifest["weights"][Section.PREFILL_DECODE.value]
    assert stored["target.per_layer_model_projection.weight"][0] == "int8"


@of_one_shape
@pytest.mark.slow
def test_requantized_on_demand(packed: Packed, tmp_path: Path) -> None:
    bundle = exported(packed.folder, tmp_path / "x.litertlm", requantize=True)
    manifest = open_bundle(bundle).manifest()
    assert manifest is not None
    assert manifest["trained_codes"] == {}
    storages = {s for w in manifest["weights"].values() for s, _ in w.values()}
    assert storages == {"int8", "float32", "int32"}  # the drafter's token ordering


def set_quantisation(folder: Path, **change: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] |= change
    (folder / "config.json").write_text(json.dumps(config))


@of_one_shape
def test_another_method_is_named(packed: Packed, tmp_path: Path) -> None:
    folder = copied(packed, tmp_path)
    set_quantisation(folder, quant_method="compressed-tensors")
    with pytest.raises(
        CheckpointError, match=r"packed by compressed-tensors.*-qat-q4_0-unquantized"
    ):
        open_checkpoint(folder)


@of_one_shape
def test_bits_that_do_not_fit_are_named(packed: Packed, tmp_path: Path) -> None:
    folder = copied(packed, tmp_path)
    set_quantisation(folder, module_quant_configs={"layers.0.mlp": {"num_bits": 3}})
    with pytest.raises(
        CheckpointError, match=r"layers\.0\.mlp\.up_proj: expected codes of 2, 4 or 8"
    ):
        open_checkpoint(folder)


@of_one_shape
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_bits": "four"}, "num_bits must be a whole number, found 'four'"),
        ({"module_quant_configs": ["mlp"]}, r"must be an object, found \['mlp'\]"),
        ({"module_quant_configs": {"mlp": 8}}, "the options of 'mlp' must be an object, found 8"),
        ({"module_quant_configs": {"m(lp": {}}}, r"'m\(lp' is no regular expression"),
        (
            {"module_quant_configs": {"m{9999999999}": {}}},
            r"'m\{9999999999}' is no regular expression",
        ),
        (
            {"module_quant_configs": {"(.|..)+!": {}}},
            "module_quant_configs took more than 5 seconds",
        ),
        ({"module_quant_configs": {"m": {"num_bits": None}}}, "num_bits of 'm' must be a whole"),
    ],
)
def test_a_malformed_configuration_is_named(
    change: dict[str, object], said: str, packed: Packed, tmp_path: Path
) -> None:
    folder = copied(packed, tmp_path)
    set_quantisation(folder, **change)
    with pytest.raises(CheckpointError, match=said):
        open_checkpoint(folder)


@of_one_shape
@pytest.mark.slow
def test_negative_scales_are_named(packed: Packed, tmp_path: Path) -> None:
    folder = copied(packed, tmp_path)
    name = f"{PREFIX}layers.0.mlp.up_proj.weight_scale"
    tensors = load_file(folder / "model.safetensors")
    tensors[name][3] *= -1
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"weight_scale has negative scales.*--requantize"):
        exported(folder, tmp_path / "x.litertlm")


def copied(packed: Packed, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in packed.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder
