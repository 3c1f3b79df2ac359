"""``mtp-export verify``: options, reports and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bundles import TINY_DRAFTER, TINY_TARGET, export_tiny, held_out_prompts
from tests.parity.bundles import Fault, make_bundle


def verify(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "exporter.cli.main", "verify", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    file.write_text("\n".join(held_out_prompts(4)), encoding="utf-8")
    return file


@pytest.mark.parametrize("recipe", ["float32", "int8", "int4"])
def test_every_recipe_passes(recipe: str, tmp_path: Path, prompts: Path) -> None:
    bundle = export_tiny(tmp_path / f"{recipe}.litertlm", recipe)
    report = tmp_path / "report.json"
    checkpoints = ("--target", TINY_TARGET, "--drafter", TINY_DRAFTER)
    done = verify(bundle, *checkpoints, "--prompts", prompts, "--report", report)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert found["verdict"] == "pass"
    verdicts = {rung["key"]: rung["verdict"] for rung in found["rungs"]}
    assert verdicts.pop("onnx") == "skipped", "no --onnx was given"
    assert list(verdicts.values()) == ["pass"] * 10
    assert all(accepted > 0 for _, accepted in found["acceptance"])


def test_without_a_drafter(tmp_path: Path, prompts: Path) -> None:
    bundle = export_tiny(tmp_path / "plain.litertlm", "int8", drafter=False)
    done = verify(bundle, "--target", TINY_TARGET, "--prompts", prompts, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = {rung["key"]: rung["verdict"] for rung in json.loads(done.stdout)["rungs"]}
    skipped = {key for key, verdict in verdicts.items() if verdict == "skipped"}
    assert skipped == {"drafter", "loop", "acceptance", "onnx"}


def test_a_broken_bundle_exits_with_3(tmp_path: Path, prompts: Path) -> None:
    """Without checkpoints; the report is written all the same."""
    bundle, report = make_bundle(Fault.TRANSPOSED, tmp_path), tmp_path / "report.html"
    done = verify(bundle, "--prompts", prompts, "--max-new-tokens", "8", "--report", report)
    assert done.returncode == 3
    assert "outside tolerance at shapes" in done.stderr
    assert done.stdout.splitlines()[0].endswith("decode, verify and prefill agree with each other”")
    assert 'class="verdict fail"' in report.read_text(encoding="utf-8")


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
