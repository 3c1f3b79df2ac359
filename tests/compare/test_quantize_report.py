"""``mtp-export quantize-report`` on the tiny pair, by its command and by its parts."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.bundle.reader import open_bundle
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.compare.comparison import (
    Sources,
    Subject,
    make_baseline,
    measure,
    opened,
    probe,
)
from exporter.compare.measure import Baseline, accepted_lengths, continue_all
from exporter.compare.passages import PassagePlan, TextFileError
from exporter.compare.tensors import tensor_figures
from exporter.errors import BundleError, OutputError
from exporter.options import ExportOptions
from exporter.verify.sides.graph_run import read_text
from quantize.recipe import Recipe
from tests.bundles import DRAFT_LENGTH, PROMPT_FILE, TINY_DRAFTER, TINY_TARGET
from tests.command import Done, run, run_process
from tests.compare.bundles import export_rules

SMALL = PassagePlan(passages=6, length=64, prompt=24, new=24)
OPTIONS = (
    "--passages",
    "6",
    "--passage-length",
    "64",
    "--prompt-tokens",
    "24",
    "--new-tokens",
    "24",
)


def report(*arguments: str | Path) -> Done:
    return run("quantize-report", *arguments)


@pytest.fixture(scope="module")
def baseline(tiny_bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    folder = tmp_path_factory.mktemp("baseline")
    subject = Subject("float32", tiny_bundles["float32"])
    return make_baseline(subject, PROMPT_FILE.read_text(encoding="utf-8"), SMALL, 2, folder)


@pytest.mark.slow
def test_the_command_compares_recipes_and_writes_reports(tmp_path: Path) -> None:
    """Of the checkpoints; the bundles it made are kept and compared again without them.

    One of an earlier run is replaced.
    """
    keep, page = tmp_path / "bundles", tmp_path / "report.html"
    keep.mkdir()
    (keep / "int8.litertlm").write_bytes(b"from an earlier run")
    wanted = ("--recipe", "int8", "--recipe", "int4", "--keep", keep, "--report", page, "--json")
    done = report(TINY_TARGET, TINY_DRAFTER, "--text", PROMPT_FILE, *OPTIONS, *wanted)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    float32, int8, int4 = found["qualities"]
    assert [one["recipe"] for one in (float32, int8, int4)] == ["float32", "int8", "int4"]
    assert float32["text"]["divergence"]["value"] == 0
    assert float32["text"]["agreement"] == 1
    assert float32["perplexity_ratio"] == 1
    assert int8["text"]["divergence"]["value"] < int4["text"]["divergence"]["value"]
    assert float32["nbytes"] > int8["nbytes"] > int4["nbytes"]
    assert all(len(one["drafts"]["counts"]["drafted"]) == DRAFT_LENGTH for one in (int8, int4))
    assert all(one["speed"]["plain"] > 0 for one in (float32, int8, int4))
    assert page.read_text(encoding="utf-8").count("<circle") == 3
    kept = sorted(path.name for path in keep.iterdir())
    assert kept == ["float32.litertlm", "int4.litertlm", "int8.litertlm"]
    bundles = [keep / f"{name}.litertlm" for name in ("float32", "int8")]
    few = ("--passages", "4", "--passage-length", "24", "--prompt-tokens", "8", "--new-tokens", "8")
    more = *few, "--report", tmp_path / "report.md"
    again = run_process("quantize-report", *bundles, "--text", PROMPT_FILE, *more)
    assert again.returncode == 0, again.stderr
    assert "reference: float32" in again.stdout
    assert "| int8 |" in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["a", "b"], 2, "Missing option '--text'"),
        (["a", "b", "c", "--text", PROMPT_FILE], 2, "expected a TARGET and its DRAFTER, found 3"),
        (["a.litertlm", "b", "--text", PROMPT_FILE], 2, "give bundles only"),
        (["a.litertlm", "--recipe", "int8", "--text", PROMPT_FILE], 2, "give bundles only"),
        (["a", "b", "--text", PROMPT_FILE, "--report", "x.pdf"], 2, "expected a file ending in"),
        (["a", "b", "--text", PROMPT_FILE, "--prompt-tokens", "500"], 2, "more than"),
        (["a", "b", "--recipe", "int8", "--recipe", "int8", "--text", PROMPT_FILE], 2, "int8 more"),
        (["a", "b", "--text", "no-such-file"], 1, "expected a text file"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str | Path], code: int, words: str) -> None:
    done = report(*arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bundle_without_a_drafter_is_measured_too(plain_bundle: Path, baseline: Baseline) -> None:
    found = measure(Subject("plain", plain_bundle), baseline, 2, None)
    assert (found.drafts, found.paired, found.speed.speculative) == (None, None, None)
    assert found.text.positions == 6 * 64


def test_a_bundle_of_another_model_is_refused(plain_bundle: Path, baseline: Baseline) -> None:
    fewer = replace(baseline, logits=baseline.logits[..., :100])
    with pytest.raises(
        BundleError, match=r"with 100 tokens, found one with \d+; compare bundles of one"
    ):
        measure(Subject("plain", plain_bundle), fewer, 2, None)


def test_paired_drafts_are_those_of_the_speculative_loop(
    tiny_bundles: dict[str, Path], baseline: Baseline
) -> None:
    """Going on from one round's start to the next by the drafts accepted there retraces the loop."""
    with opened(tiny_bundles["float32"], SMALL, 2) as model:
        cache, longest = model.executor.new_cache(), model.executor.draft_length
        retraced = 0
        for heard in continue_all(model, baseline.passages, SMALL).every:
            lengths = accepted_lengths(model.executor, cache, heard.tokens, SMALL.prompt)
            place, full = 0, [done for done in heard.rounds if done.drafted == longest]
            for done in full:
                if place < len(lengths):
                    assert lengths[place] == done.accepted
                    place, retraced = place + done.accepted + 1, retraced + 1
    assert retraced > 20


def test_a_worse_drafter_is_seen_by_paired_drafts_and_not_by_the_text(
    tiny_bundles: dict[str, Path], baseline: Baseline, tmp_path: Path
) -> None:
    bundle = export_rules(tmp_path, ("drafter.*", "int4"))
    sound = probe(tiny_bundles["float32"], baseline, 2)
    found = probe(bundle, baseline, 2)
    assert found.text.divergence.value == sound.text.divergence.value == 0
    assert found.accepted < sound.accepted


def test_perplexity_is_the_text_s(tiny_bundles: dict[str, Path], baseline: Baseline) -> None:
    """Against log-softmax and indexing written out."""
    with opened(tiny_bundles["int8"], SMALL, 2) as model:
        cache, logs = model.executor.new_cache(), list[float]()
        for passage in baseline.passages:
            logits, _ = read_text(model.executor, cache, passage, range(len(passage)))
            for row, token in zip(logits[:-1].astype(np.float64), passage[1:], strict=True):
                logs.append(row[token] - math.log(np.exp(row).sum()))
    found = probe(tiny_bundles["int8"], baseline, 2)
    assert found.text.perplexity == pytest.approx(math.exp(-np.mean(logs)), rel=1e-9)


def test_signal_to_noise_is_that_of_rounding(tiny_bundles: dict[str, Path]) -> None:
    """Four bits fewer cost 24 dB, and a float32 tensor costs nothing."""
    checkpoints = open_checkpoint(TINY_TARGET), open_checkpoint(TINY_DRAFTER)
    sources = Sources(*checkpoints, ExportOptions(Recipe("float32", "", ())))
    found: dict[str, dict[str, Any]] = {}
    with sources.weights() as weights:
        for recipe in ("float32", "int8", "int4"):
            figures = tensor_figures(open_bundle(tiny_bundles[recipe]), weights)
            found[recipe] = {tensor.name: tensor for tensor in figures}
    assert found["float32"].keys() == found["int8"].keys() == found["int4"].keys()
    assert all(tensor.snr is None for tensor in found["float32"].values())
    assert all(tensor.bits == 32 for tensor in found["float32"].values())
    name = "target.layers.0.mlp.gate_proj.weight"
    assert found["int8"][name].snr - found["int4"][name].snr == pytest.approx(25, abs=1.5)
    assert found["int8"][name].bits == pytest.approx(8 + 32 / 128)


def test_a_disk_without_room_for_the_logits_is_refused(
    tiny_bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    subject, text = Subject("x", tiny_bundles["float32"]), PROMPT_FILE.read_text(encoding="utf-8")
    with pytest.raises(OutputError, match="needed while measuring, and the disk has 0"):
        make_baseline(subject, text, SMALL, 1, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_text_too_short_is_refused(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(TextFileError, match="give a longer text"):
        make_baseline(Subject("x", tiny_bundles["float32"]), "short", SMALL, 1, tmp_path)
