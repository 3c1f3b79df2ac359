"""Bundles with int8 caches: in the stock engine, the reference runtime and the commands.

One bundle for all of it, because its graphs are not shipped; so it has batch signatures as well.
"""

from __future__ import annotations

import hashlib
import json
import math
from itertools import chain
from pathlib import Path

import pytest
from click.testing import CliRunner

from exporter.bundle.inspection import inspect_bundle
from exporter.bundle.stored_contract import contract_block, parsed_contract
from exporter.calibrate.text import DEFAULT_TEXT
from exporter.checkpoints.architecture import AttentionKind
from exporter.cli.main import cli
from exporter.contract.names import Dtype, Section
from exporter.contract.text import Contract
from exporter.verify.sides.stored_weights import stored_constants
from exporter.weights.parameters import SCALED, scale_name
from runtime_py.batch_run import run_batch
from runtime_py.chat.conversation import Conversation
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.litert.hardware import Hardware
from runtime_py.opened_model import open_model
from runtime_py.reference_run import RunSettings, run_reference
from runtime_py.reply import RunResult
from runtime_py.same_text import ReplyLimits, same_text
from tests.bundles import (
    CACHE_LENGTH,
    DRAFT_LENGTH,
    TINY_DRAFTER,
    TINY_TARGET,
    export_tiny,
    held_out_prompts,
    long_prompts,
)

pytestmark = pytest.mark.slow

PROMPTS, NEW_TOKENS, BATCH = 16, 96, 2
OTHER_LENGTH = 256
"""Slots; more than the longest prompt with its answer, and than the 192 that these graphs need."""

LEAST_SUCCESS_RATE = 0.5
"""0.97 was measured, as with float caches; a drafter that read wrong scales would be far below."""

SAME_ANSWERS = 14
"""Of the float bundle's. All were measured; a near-tie may fall the other way on another machine."""

TIPPED = 1e-3
"""Of a slot's codes: none differed where this was measured; one in a thousand may by a last bit."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("int8") / "int8.litertlm"
    return export_tiny(
        output, "float32", prefill_lengths=(32, 128), batch=BATCH, kv_dtype=Dtype.INT8
    )


@pytest.fixture(scope="module")
def asked() -> list[Conversation]:
    return [Conversation.asking(prompt) for prompt in held_out_prompts(PROMPTS)]


@pytest.fixture(scope="module")
def runs(bundle: Path, asked: list[Conversation]) -> dict[bool, RunResult]:
    """By whether MTP is on."""
    return {mtp: run_engine(settings(bundle, mtp=mtp), asked) for mtp in (False, True)}


def settings(bundle: Path, *, mtp: bool, slots: int | None = None) -> EngineSettings:
    return EngineSettings(bundle, mtp, NEW_TOKENS, threads=2, max_num_tokens=slots)


def cache_bytes(agreed: Contract) -> int:
    """Of the caches in LiteRT's own buffers."""
    return sum(math.prod(spec.shape) for spec in agreed.kv_specs().values())


def test_mtp_changes_no_text(runs: dict[bool, RunResult]) -> None:
    limits = ReplyLimits(NEW_TOKENS, CACHE_LENGTH, DRAFT_LENGTH)
    pairs = zip(*(chain(*runs[mtp].replies) for mtp in (False, True)), strict=True)
    assert all(same_text(off, on, limits) for off, on in pairs)
    rate = runs[True].success_rate
    assert rate is not None
    assert rate >= LEAST_SUCCESS_RATE


def test_answers_are_those_of_float_caches(
    runs: dict[bool, RunResult], tiny_bundles: dict[str, Path], asked: list[Conversation]
) -> None:
    floats = run_engine(settings(tiny_bundles["float32"], mtp=False), asked)
    same = sum(a == b for a, b in zip(runs[False].texts, floats.texts, strict=True))
    assert same >= SAME_ANSWERS


def test_the_engine_takes_another_length(
    bundle: Path, runs: dict[bool, RunResult], asked: list[Conversation]
) -> None:
    run = run_engine(settings(bundle, mtp=True, slots=OTHER_LENGTH), asked)
    limits = ReplyLimits(NEW_TOKENS, OTHER_LENGTH, DRAFT_LENGTH)
    pairs = zip(chain(*runs[True].replies), chain(*run.replies), strict=True)
    assert all(same_text(long, short, limits) for long, short in pairs)


def test_long_answers_are_those_of_float_caches(
    bundle: Path, tiny_bundles: dict[str, Path]
) -> None:
    asked = [Conversation.asking(prompt) for prompt in long_prompts()]
    for mtp in (False, True):  # each by itself: with MTP the engine ends some tokens later
        floats = run_engine(settings(tiny_bundles["float32"], mtp=mtp), asked)
        assert run_engine(settings(bundle, mtp=mtp), asked).texts == floats.texts


def test_caches_take_a_quarter(bundle: Path, tiny_bundles: dict[str, Path]) -> None:
    nbytes = {}
    for name, path in (("int8", bundle), ("float32", tiny_bundles["float32"])):
        with open_model(path, Hardware(threads=1)) as model:
            bank = model.executor.new_cache().buffers
            caches = model.executor.read_cache(model.executor.new_cache())
            assert {str(cache.dtype) for cache in caches.values()} == {name}
            assert bank.keys() == caches.keys()
            nbytes[name] = sum(cache.nbytes for cache in caches.values())
    assert nbytes["int8"] * 4 == nbytes["float32"]


def test_verify_passes(bundle: Path, tmp_path: Path) -> None:
    """The reference runtime, its loop, the graphs against torch and transformers, the engine."""
    report = tmp_path / "report.json"
    checkpoints = ["--target", str(TINY_TARGET), "--drafter", str(TINY_DRAFTER)]
    done = CliRunner().invoke(
        cli, ["verify", str(bundle), *checkpoints, "--threads", "1", "--report", str(report)]
    )
    assert done.exit_code == 0, done.output
    rungs = {rung["key"]: rung for rung in json.loads(report.read_text())["rungs"]}
    of_media = {"tower", "pictures", "picture-replies", "sounds", "sound-replies"}
    assert {key for key, rung in rungs.items() if rung["verdict"] == "skipped"} == {
        "float16",
        "onnx",
        *of_media,
    }
    assert {rung["verdict"] for rung in rungs.values()} == {"pass", "skipped"}
    caches = [f["value"] for f in rungs["graphs"]["figures"] if f["name"].endswith(": caches")]
    assert len(caches) >= 2
    assert max(caches) <= TIPPED, "LiteRT and torch write the same codes"


def test_several_sequences_at_once(bundle: Path, asked: list[Conversation]) -> None:
    run_settings = RunSettings(DRAFT_LENGTH, NEW_TOKENS)
    with open_model(bundle, Hardware(threads=2)) as model:
        together = run_batch(model, run_settings, asked)
        one_by_one = run_reference(model, run_settings, asked)
    assert together.texts == one_by_one.texts


def test_inspect_shows_the_caches(bundle: Path) -> None:
    found = inspect_bundle(bundle)
    assert not found.problems
    assert found.contract is not None
    assert found.contract.kv_dtype is Dtype.INT8
    shown = CliRunner().invoke(cli, ["inspect", str(bundle)]).output
    assert f" {cache_bytes(found.contract):,} bytes at {found.contract.cache_length};" in shown
    assert ", int8, " in shown


def test_drafter_and_target_share_their_scales(bundle: Path) -> None:
    found = inspect_bundle(bundle)
    assert found.contract is not None
    stored = stored_constants(found.bundle)
    kinds = {kv.layer: AttentionKind.SLIDING if kv.sliding else AttentionKind.FULL
             for kv in found.contract.kv_caches}  # fmt: skip
    for layer in found.contract.drafter_donors:
        for part in SCALED:
            target = stored[Section.PREFILL_DECODE][f"target.{scale_name(str(layer), part)}"]
            drafter = stored[Section.MTP_DRAFTER][f"drafter.{scale_name(kinds[layer].value, part)}"]
            assert (target.floats(0, 1) == drafter.floats(0, 1)).all()
            assert (target.floats(0, 1) > 0).all()


def test_the_contract_says_what_the_caches_are(bundle: Path) -> None:
    agreed = inspect_bundle(bundle).contract
    assert agreed is not None
    assert parsed_contract(contract_block(agreed)) == agreed
    older = {key: value for key, value in contract_block(agreed).items() if key != "kv_dtype"}
    assert parsed_contract(older).kv_dtype is Dtype.FLOAT32


def test_the_manifest_says_which_text(bundle: Path) -> None:
    manifest = inspect_bundle(bundle).manifest
    assert manifest is not None
    digest = hashlib.sha256(DEFAULT_TEXT.read_bytes()).hexdigest()
    assert manifest["options"]["kv_cache_text"]["sha256"] == digest
    assert "calibration" not in manifest["recipe"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--accelerator", "gpu"), "float caches only"),
        (("--format", "onnx"), "--kv-cache int8 needs --format litertlm"),
    ],
)
def test_what_is_refused(options: tuple[str, str], said: str, tmp_path: Path) -> None:
    arguments = ["export", str(TINY_TARGET), str(TINY_DRAFTER), "-o", str(tmp_path / "x.litertlm")]
    done = CliRunner().invoke(cli, [*arguments, "--kv-cache", "int8", *options])
    assert done.exit_code
    assert said in done.output + str(done.exception)
    assert not list(tmp_path.iterdir())
