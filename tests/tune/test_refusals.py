"""What a tuning cannot be asked, in one sentence each; nothing is left behind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.bundles import PROMPT_FILE, TINY_DRAFTER, TINY_TARGET
from tests.command import run, run_process, run_without
from tests.tune.disguised import disguised_target

PAIR = (str(TINY_TARGET), str(TINY_DRAFTER))


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ({}, 2, "give --prompts FILE or --conversations FILE.jsonl"),
        (
            {"--prompts": PROMPT_FILE, "--conversations": PROMPT_FILE},
            2,
            "give --prompts FILE or --conversations FILE.jsonl",
        ),
        ({"--prompts": PROMPT_FILE, "--recipe": "int4-gptq"}, 1, "-clip instead"),
        ({"--prompts": PROMPT_FILE, "--device": "cuda"}, 1, "torch finds no such GPU"),
        ({"--prompts": PROMPT_FILE, "--bundle": PROMPT_FILE}, 1, "expected a .litertlm bundle"),
    ],
)
def test_refused(options: Mapping[str, object], code: int, told: str, tmp_path: Path) -> None:
    given = [str(word) for pair in options.items() for word in pair]
    done = run("tune", *PAIR, "-o", tmp_path / "out", *given)
    assert done.returncode == code
    assert told in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "expected one prompt a line, found none"),
        ("Hello\n" * 47, "expected 48 different prompts with usable answers at least"),
    ],
)
def test_prompts_are_looked_at_first(content: str, told: str, tmp_path: Path) -> None:
    """Before a bundle is made, which takes minutes."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text(content)
    done = run("tune", *PAIR, "-o", tmp_path / "out", "--prompts", prompts)
    assert done.returncode == 1
    assert told in done.stderr
    assert list(tmp_path.iterdir()) == [prompts]


def test_prompts_from_a_pipe(tmp_path: Path) -> None:
    """Whether a tuning can be gone on with is told by checksums, and a pipe can be read once."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as stream:
        stream.write(PROMPT_FILE.read_bytes())
    done = run("tune", *PAIR, "-o", tmp_path / "out", "--prompts", f"/dev/fd/{reading}")
    os.close(reading)
    assert done.returncode == 1
    assert "the file cannot be read: expected a file, found a pipe" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_somebody_elses_is_no_work_folder(tmp_path: Path) -> None:
    """It would be removed in the end."""
    mine = tmp_path / "out.tuning" / "mine.txt"
    mine.parent.mkdir()
    mine.touch()
    done = run("tune", *PAIR, "-o", tmp_path / "out", "--prompts", PROMPT_FILE)
    assert done.returncode == 1
    assert "out.tuning: expected an empty folder, or that of a tuning" in done.stderr
    assert list(mine.parent.iterdir()) == [mine]


def test_an_output_that_is_something_else(tmp_path: Path) -> None:
    """Told before the checkpoints are looked for, which may be downloaded."""
    (tmp_path / "mine.txt").touch()
    for pair in (PAIR, ("no-such-folder", "neither")):
        done = run("tune", *pair, "-o", tmp_path, "--prompts", PROMPT_FILE, "--force")
        assert done.returncode == 1
        assert "expected a folder with a tuning.json to replace" in done.stderr


def test_torch_is_not_installed(tmp_path: Path) -> None:
    done = run_without(("torch",), "tune", *PAIR, "-o", tmp_path / "out", "--prompts", PROMPT_FILE)
    assert done.returncode == 1
    assert "tune needs torch: pip install" in done.stderr
    assert "[export,runtime]" in done.stderr


@pytest.mark.slow
def test_a_bundle_of_another_target(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    """Its answers would not be TARGET's; nor may its recipe be another than the one asked for."""
    other = disguised_target(tmp_path / "other")
    given = ("-o", tmp_path / "out", "--prompts", PROMPT_FILE, "--bundle", tiny_bundles["int8"])
    done = run("tune", other, TINY_DRAFTER, *given)
    assert done.returncode == 1
    assert "expected a bundle of TARGET" in done.stderr
    assert "model.safetensors" in done.stderr
    done = run("tune", *PAIR, *given, "--recipe", "int4")
    assert done.returncode == 1
    assert "expected a bundle of recipe int4, found int8" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"other"}


@pytest.mark.slow
def test_exit_codes_of_a_process(tmp_path: Path) -> None:
    missing = run_process("tune", *PAIR, "-o", tmp_path / "out", "--prompts", tmp_path / "none.txt")
    assert missing.returncode == 2
    assert "does not exist" in missing.stderr
