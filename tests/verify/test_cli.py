"""``mtp-export verify``: options, reports and exit codes."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

import pytest

from exporter.pip_install import pip_install
from exporter.verify.answers import NO_ANSWERS
from exporter.verify.rungs.shapes import TITLE
from tests.bundles import SHORT_CACHE, TINY_DRAFTER, TINY_TARGET, held_out_prompts
from tests.command import Done, run, run_process, run_without
from tests.verify.asking import NEEDS_MORE
from tests.verify.bundles import make_bundle
from tests.verify.faulty_graphs import Fault
from tests.verify.test_recipes import OF_README


def verify(*arguments: str | Path) -> Done:
    return run("verify", *arguments)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    file.write_text("\n".join(held_out_prompts(2)), encoding="utf-8")
    return file


def test_as_in_the_readme(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    """Default prompts, threads and limits; ``test_recipes`` has all other recipes."""
    report = tmp_path / "report.json"
    checkpoints = ("--target", TINY_TARGET, "--drafter", TINY_DRAFTER)
    done = verify(tiny_bundles[OF_README], *checkpoints, "--report", report)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert (found["verdict"], found["what_now"]) == ("pass", [])
    verdicts = {rung["key"]: rung["verdict"] for rung in found["rungs"]}
    assert {verdicts.pop(key) for key in NEEDS_MORE} == {"skipped"}
    assert set(verdicts.values()) == {"pass"}
    assert all(accepted > 0 for _, accepted in found["acceptance"])
    assert found["mtp"]["speed"]["value"] > 0
    assert found["mtp"]["drafts"]["tokens"]["prompts"] == 6
    assert found["mtp"]["text"].startswith(found["rungs"][-1]["note"])


def test_without_a_drafter(plain_bundle: Path, prompts: Path) -> None:
    done = verify(plain_bundle, "--target", TINY_TARGET, "--prompts", prompts, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = {rung["key"]: rung["verdict"] for rung in json.loads(done.stdout)["rungs"]}
    skipped = {key for key, verdict in verdicts.items() if verdict == "skipped"}
    assert skipped == {"drafter", "loop", "acceptance", *NEEDS_MORE}
    assert json.loads(done.stdout)["mtp"]["outcome"] == "no drafter"


def test_prompts_that_are_longer_than_the_cache(short_bundle: Path, tmp_path: Path) -> None:
    """Nothing is answered then, so nothing that compares answers has passed."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("and on it went, " * SHORT_CACHE)
    done = verify(short_bundle, "--prompts", prompts, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    rungs = {rung["key"]: rung for rung in json.loads(done.stdout)["rungs"]}
    for key in ("loop", "acceptance", "engine"):
        assert (rungs[key]["verdict"], rungs[key]["note"]) == ("skipped", NO_ANSWERS)


@pytest.mark.slow
def test_a_broken_bundle_exits_with_3(tmp_path: Path, prompts: Path) -> None:
    """Without checkpoints; the report is written all the same."""
    bundle, report = make_bundle(Fault.TRANSPOSED, tmp_path), tmp_path / "report.html"
    asked = "--prompts", prompts, "--max-new-tokens", "8", "--report", report
    done = run_process("verify", bundle, *asked)
    assert done.returncode == 3
    assert "outside tolerance at shapes" in done.stderr
    assert done.stdout.splitlines()[0].endswith("decode, verify and prefill agree with each other”")
    page = report.read_text(encoding="utf-8")
    assert 'class="verdict fail"' in page
    assert page.index(escape(TITLE.advice)) < page.index('id="checksums"'), "what now comes first"
    told = [line for line in done.stderr.splitlines() if not line.startswith(("WARNING", "I0000"))]
    assert told[0].startswith("without --target these rungs are skipped: weights, model, graphs")
    assert "give --target (and --drafter)" in told[0]


@pytest.mark.parametrize(
    ("missing", "options", "words"),
    [
        ("torch", ("--target", "google/gemma"), "verify --target needs torch"),
        ("onnxruntime", ("--onnx", "folder"), "ONNX folders need onnxruntime"),
        ("tokenizers", (), "the reference runtime needs tokenizers"),
    ],
)
def test_a_missing_extra_is_one_sentence(
    missing: str, options: tuple[str, ...], words: str, tiny_bundles: dict[str, Path]
) -> None:
    """Before the first stage, and before anything is downloaded."""
    done = run_without((missing,), "verify", tiny_bundles["int8"], *options)
    assert done.returncode == 1
    assert done.stderr.startswith(f"mtp-export: {words}: {pip_install('')[:-2]}")
    assert len(done.stderr.splitlines()) == 1


def test_what_needs_transformers_is_skipped(tiny_bundles: dict[str, Path], prompts: Path) -> None:
    """And said before the first stage. Without --drafter nothing is drafted in torch."""
    options = ("--target", TINY_TARGET, "--prompts", prompts, "--max-new-tokens", "4", "--json")
    done = run_without(("transformers",), "verify", tiny_bundles["int8"], *options)
    assert done.returncode == 0, done.stderr
    verdicts = {rung["key"]: rung["verdict"] for rung in json.loads(done.stdout)["rungs"]}
    assert {verdicts["model"], verdicts["drafter"]} == {"skipped"}
    assert verdicts["graphs"] == "pass"
    said = done.stderr.index(
        "the rungs model, drafter and tower are skipped: transformers is not installed"
    )
    assert said < done.stderr.index("...")


def test_errors_exit_with_1(tmp_path: Path) -> None:
    bundle = tmp_path / "not-a.litertlm"
    bundle.write_bytes(b"nothing")
    done = verify(bundle)
    assert done.returncode == 1
    assert "expected a .litertlm bundle" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x.litertlm", "--drafter", "d"], "--drafter needs --target"),
        (["x.litertlm", "--report", "r.pdf"], "expected a file ending in .json, .html, .md"),
        (["x.litertlm", "--accelerator", "npu"], "Invalid value"),
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], words: str) -> None:
    done = verify(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
