"""Reading bundles: what is in them, and files that are not what they should be."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path

import pytest

from exporter.bundle.inspection import infer_contract, inspect_bundle
from exporter.bundle.layout import MANIFEST_VALUE
from exporter.bundle.reader import open_bundle
from exporter.bundle.signature_check import broken_draft_round, broken_promises
from exporter.bundle.stored_contract import (
    VERSION,
    contract_block,
    parsed_contract,
    stored_contract,
)
from exporter.contract.names import Accelerator, Dtype, Section
from exporter.errors import BundleError
from exporter.litertlm.writer import backends
from exporter.llm_metadata import MIN_RUNTIME_VERSION
from exporter.options import Activations
from tests import command
from tests.bundles import (
    CACHE_LENGTH,
    SHORT_CACHE,
    SHORT_PREFILLS,
    TINY_DRAFTER,
    TINY_TARGET,
    export_tiny,
)

ALIGNMENT = 16 * 1024

TEXT = (
    Section.EMBEDDER,
    Section.PER_LAYER_EMBEDDER,
    Section.PREFILL_DECODE,
    Section.MTP_DRAFTER,
)
"""Sections of a bundle that takes no pictures."""


@pytest.fixture
def content(tiny_bundles: dict[str, Path]) -> bytearray:
    """A good bundle's bytes, to be damaged."""
    return bytearray(tiny_bundles["int4"].read_bytes())


def damaged(content: bytearray, folder: Path) -> Path:
    path = folder / "damaged.litertlm"
    path.write_bytes(content)
    return path


def test_every_section_can_be_mapped(tiny_bundles: dict[str, Path]) -> None:
    bundle = open_bundle(tiny_bundles["float32"])
    assert [s.begin % ALIGNMENT for s in bundle.sections] == [0] * len(bundle.sections)
    assert {s.model_type for s in bundle.sections} >= {section.value for section in TEXT}


def test_tokenizer_template_and_tokens_are_the_checkpoints(tiny_bundles: dict[str, Path]) -> None:
    bundle = open_bundle(tiny_bundles["int8"])
    assert bundle.tokenizer_json() == (TINY_TARGET / "tokenizer.json").read_bytes()
    metadata = bundle.llm_metadata()
    template = (TINY_TARGET / "chat_template.jinja").read_text(encoding="utf-8")
    assert metadata.jinja_prompt_template == template
    assert [list(stop.token_ids.ids) for stop in metadata.stop_tokens] == [[1], [106], [50]]
    assert list(metadata.start_token.token_ids.ids) == [2]
    assert metadata.max_num_tokens == CACHE_LENGTH
    assert metadata.min_runtime_version == MIN_RUNTIME_VERSION
    assert list(metadata.pad_token.token_ids.ids) == [0]


def test_every_model_says_what_it_is_for(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    """LiteRT-LM's own command takes the first of a constraint, and the CPU where there is none.

    The engine reads the activations of the target (``tests/gpu/test_activations.py``).
    """
    gpu = export_tiny(
        tmp_path / "gpu.litertlm",
        "int8",
        accelerator=Accelerator.GPU,
        activations=Activations.FLOAT32,
        cache_length=SHORT_CACHE,
        prefill_lengths=SHORT_PREFILLS,
    )
    for path, backend in ((tiny_bundles["int8"], "cpu"), (gpu, "gpu")):
        models = [s for s in open_bundle(path).sections if s.model_type is not None]
        assert {s.model_type for s in models} == {section.value for section in TEXT}
        assert {s.metadata["backend_constraint"] for s in models} == {backend}
    asked = {s.model_type: s.activations for s in open_bundle(gpu).sections if s.activations}
    assert asked == dict.fromkeys((Section.PREFILL_DECODE, Section.MTP_DRAFTER), "float32")
    assert not [s for s in open_bundle(tiny_bundles["int8"]).sections if s.activations]
    shown = command.run("inspect", gpu)
    assert "activations on a GPU: float32, unless the app asks for others\n" in shown.stdout
    pair = "--target", TINY_TARGET, "--drafter", TINY_DRAFTER
    done = command.run("rebuild", gpu, "-o", tmp_path / "again.litertlm", *pair)
    assert done.returncode == 0, done.stderr


def test_the_engine_reads_the_metadata(tiny_bundles: dict[str, Path]) -> None:
    """What ``litert-lm describe`` shows."""
    import litert_lm

    with litert_lm.ModelInfo(tiny_bundles["int8"]) as info:
        assert info.min_runtime_version == MIN_RUNTIME_VERSION
        assert info.supported_backends_for_modality(litert_lm.LiteRtLmModality.TEXT) == ["cpu"]
        assert info.llm is not None
        assert info.llm.has_speculative_decoding_support()
        assert info.llm.default_sampler_params.top_k == 1


def test_recipes_differ_in_size(tiny_bundles: dict[str, Path]) -> None:
    names = ("float32", "int8", "mixed", "int4-block32", "int4", "smallest")
    sizes = [tiny_bundles[name].stat().st_size for name in names]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 2 * sizes[1]


def test_weights_are_stored_as_the_recipe_says(tiny_bundles: dict[str, Path]) -> None:
    models = inspect_bundle(tiny_bundles["int4"]).models
    stored = {group.name: group.dtype for model in models.values() for group in model.weights}
    assert stored["target.layers.*.mlp.up_proj.weight"] == "int4"
    assert stored["target.embed_tokens_per_layer.weight"] == "int4"
    assert stored["drafter.lm_head.weight"] == "int8"
    assert stored["drafter.masked_embedding.token_ordering"] == "int32"


def test_the_contract_can_be_inferred(tiny_bundles: dict[str, Path]) -> None:
    """A bundle without our manifest is checked against what its decode signature implies."""
    inspection = inspect_bundle(tiny_bundles["int8"])
    agreed = inspection.contract
    assert agreed is not None
    inferred = infer_contract(inspection.models, agreed.cache_length)
    unknowable = tuple(dataclasses.replace(kv, sliding=False) for kv in agreed.kv_caches)
    assert inferred == dataclasses.replace(agreed, sliding_window=0, kv_caches=unknowable)


def test_a_contract_of_what_other_tools_leave_out(tiny_bundles: dict[str, Path]) -> None:
    """No length in the metadata: all that the graphs allow. Without a signature nothing can be run."""
    models = inspect_bundle(tiny_bundles["int8"]).models
    inferred = infer_contract(models, 0)
    assert inferred.cache_length == inferred.longest_cache > CACHE_LENGTH
    drafter = Section.MTP_DRAFTER.value
    empty = dataclasses.replace(models[drafter], signatures={})
    with pytest.raises(ValueError, match="the drafter's section has no signature"):
        infer_contract({**models, drafter: empty}, 0)
    target = models[Section.PREFILL_DECODE]
    steps = {n: s for n, s in target.signatures.items() if not n.startswith("prefill")}
    with pytest.raises(ValueError, match="no signature prefill_<tokens>"):
        infer_contract({Section.PREFILL_DECODE: dataclasses.replace(target, signatures=steps)}, 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_size": 256}, "embeddings is float32 [1, 1, 128], expected float32 [1, 1, 256]"),
        ({"placeholder": 499}, "mask is bool [1, 1, 1, 2053], expected bool [1, 1, 1, 499]"),
        ({"draft_length": 4}, "verify: input input_pos is int32 [4], expected int32 [5]"),
        ({"drafter_donors": (1, 3)}, "input kv_cache_k_1 is missing"),
        ({"drafter_donors": (1, 3)}, "input kv_cache_k_2 is not part of the contract"),
        ({"prefill_lengths": (7,)}, "signature prefill_7 is missing"),
    ],
)
def test_broken_promises_are_named(
    change: dict[str, object], said: str, tiny_bundles: dict[str, Path]
) -> None:
    inspection = inspect_bundle(tiny_bundles["int8"])
    assert inspection.contract is not None
    other = parsed_contract({**contract_block(inspection.contract), **change})
    signatures = {name: model.signatures for name, model in inspection.models.items()}
    assert broken_promises(inspection.contract, signatures) == []
    assert any(said in problem for problem in broken_promises(other, signatures))


def test_a_missing_section_is_a_broken_promise(plain_bundle: Path) -> None:
    inspection = inspect_bundle(plain_bundle)
    assert inspection.contract is not None
    wants_drafter = dataclasses.replace(inspection.contract, drafter_donors=(2, 3), draft_length=3)
    signatures = {name: model.signatures for name, model in inspection.models.items()}
    problems = broken_promises(wants_drafter, signatures)
    assert "section tf_lite_mtp_drafter is missing" in problems
    assert "tf_lite_prefill_decode: signature verify is missing" in problems


def test_types_are_compared_where_they_are_known(tiny_bundles: dict[str, Path]) -> None:
    """What a manifest says of the caches binds; what one signature seems to say does not."""
    inspection = inspect_bundle(tiny_bundles["int8"])
    assert inspection.contract is not None
    signatures = {name: model.signatures for name, model in inspection.models.items()}
    other = dataclasses.replace(inspection.contract, kv_dtype=Dtype.INT8)
    said = "decode: input kv_cache_k_0 is float32 [1, 1, 2053, 32], expected int8 [1, 1, 2053, 32]"
    assert any(said in problem for problem in broken_promises(other, signatures))
    assert broken_promises(other, signatures, inferred=True) == []


def test_a_draft_round_that_nobody_promised(tiny_bundles: dict[str, Path]) -> None:
    """Graphs for a GPU draft step by step."""
    inspection = inspect_bundle(tiny_bundles["int8"])
    assert inspection.contract is not None
    assert inspection.draft_round is not None
    other = dataclasses.replace(inspection.contract, accelerator=Accelerator.GPU)
    assert broken_draft_round(inspection.contract, inspection.draft_round) == []
    problems = broken_draft_round(other, inspection.draft_round)
    assert problems == ["the graph of draft is not part of the contract"]


@pytest.mark.parametrize("keep", [0, 7, 20, 40, 500, 20_000, -1])
def test_a_truncated_bundle(keep: int, content: bytearray, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"damaged\.litertlm"):
        inspect_bundle(damaged(content[:keep], tmp_path))


@pytest.mark.parametrize("position", [0, 9, 25, *range(32, 1200, 53)])
def test_a_flipped_byte_in_the_header(position: int, content: bytearray, tmp_path: Path) -> None:
    """Whatever it hits, the answer is a BundleError or an inspection, never a traceback."""
    content[position] ^= 0xFF
    path = damaged(content, tmp_path)
    with contextlib.suppress(BundleError):
        inspect_bundle(path)


def test_a_damaged_tokenizer_and_manifest(content: bytearray, tmp_path: Path) -> None:
    good = open_bundle(damaged(content, tmp_path))
    (tokenizer,) = (s for s in good.sections if s.data_type == "HF_Tokenizer_Zlib")
    (manifest,) = (s for s in good.sections if s.label == MANIFEST_VALUE)
    content[tokenizer.begin + 100] ^= 0xFF
    content[manifest.begin] ^= 0xFF
    bundle = open_bundle(damaged(content, tmp_path))
    with pytest.raises(BundleError, match="tokenizer is damaged"):
        bundle.tokenizer_json()
    with pytest.raises(BundleError, match="manifest is damaged"):
        bundle.manifest()


@pytest.mark.parametrize(
    ("claimed", "said"),
    [(1 << 40, "at most 268435456 bytes, found one of 1099511627776"), (5, "its length is wrong")],
)
def test_a_tokenizer_of_another_size(
    claimed: int, said: str, content: bytearray, tmp_path: Path
) -> None:
    """No more is unpacked than the section says that it holds."""
    good = open_bundle(damaged(content, tmp_path))
    (tokenizer,) = (s for s in good.sections if s.data_type == "HF_Tokenizer_Zlib")
    content[tokenizer.begin : tokenizer.begin + 8] = claimed.to_bytes(8, "little")
    with pytest.raises(BundleError, match=said):
        open_bundle(damaged(content, tmp_path)).tokenizer_json()


@pytest.mark.parametrize(
    ("contract", "said"),
    [
        ({"version": 1}, "found contract version 1, expected 2: .* export it again$"),
        ({}, "found contract version None"),
        ({"version": VERSION}, "the manifest is damaged: the contract block is incomplete"),
        ([], "the manifest is damaged: expected an object as its contract, found a list"),
        (None, "found a NoneType"),
    ],
)
def test_a_contract_that_cannot_be_read(contract: object, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        stored_contract(Path("a.litertlm"), {"contract": contract})


def test_a_contract_of_another_version_is_said(tiny_bundles: dict[str, Path]) -> None:
    agreed = inspect_bundle(tiny_bundles["int8"]).contract
    assert agreed is not None
    assert parsed_contract(json.loads(json.dumps(contract_block(agreed)))) == agreed
    with pytest.raises(ValueError, match="version 99"):
        parsed_contract({**contract_block(agreed), "version": 99})
    with pytest.raises(ValueError, match="incomplete"):
        parsed_contract({"version": VERSION})


def test_an_app_may_give_sound_to_the_cpu_of_a_gpu_bundle() -> None:
    cpu, gpu = Accelerator.CPU, Accelerator.GPU
    assert backends(Section.AUDIO_ENCODER, gpu) == (cpu, gpu)
    assert backends(Section.AUDIO_ENCODER, cpu) == (cpu,)
    assert backends(Section.AUDIO_ADAPTER, gpu) == (cpu,)
    assert backends(Section.VISION_ENCODER, gpu) == (gpu,)
