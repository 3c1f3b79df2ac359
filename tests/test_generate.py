"""``mtp-export generate``: what it prints, what it reads, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.bundles import held_out_prompts
from tests.command import COMMAND, run


def test_an_answer_is_all_that_stdout_has(tiny_bundles: dict[str, Path]) -> None:
    done = run("generate", tiny_bundles["int8"], "-p", "What does the fox eat?")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "The fox eats berries.\n"
    assert "% of drafts accepted, MTP on" in done.stderr
    assert "verdict" not in done.stderr, "one prompt concludes nothing"


def test_prompts_stand_in_front_of_their_answers(
    tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    answered = "==> What does the fox eat? <==\nThe fox eats berries.\n"
    asked = ("-p", "What does the fox eat?", "-p", "Where does\nthe bear live?")
    first, second = run("generate", tiny_bundles["int8"], *asked).stdout.split("\n\n")
    assert first + "\n" == answered
    assert second.startswith("==> Where does the bear live? <==\nThe ")
    (tmp_path / "one.txt").write_text("What does the fox eat?\n")
    done = run("generate", tiny_bundles["int8"], "--prompts", tmp_path / "one.txt")
    assert done.stdout == answered


@pytest.mark.parametrize(
    ("options", "piped"),
    [
        ((), "What does\nthe fox eat?\n"),
        (("-p", "-"), "What does the fox eat?"),
        (("--prompts", "-"), "What does the fox eat?\n"),
        (
            ("--chat-file", "-"),
            '{"messages": [{"role": "user", "content": "What does the fox eat?"}]}',
        ),
    ],
)
def test_a_pipe_asks(options: tuple[str, ...], piped: str, tiny_bundles: dict[str, Path]) -> None:
    command = [*COMMAND, "generate", str(tiny_bundles["int8"]), "--quiet", *options]
    done = subprocess.run(command, input=piped, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "The fox eats berries.", done.stderr
    assert len(done.stdout.splitlines()) == (2 if "--prompts" in options else 1)
    assert done.stderr == ""


@pytest.mark.slow
def test_an_empty_pipe_asks_nothing(tmp_path: Path) -> None:
    command = [*COMMAND, "generate", str(tmp_path / "x.litertlm")]
    done = subprocess.run(command, input=" \n", capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "stdin: expected a prompt, found nothing" in done.stderr


def test_both_is_another_command(tmp_path: Path) -> None:
    done = run("generate", tmp_path / "x.litertlm", "-p", "x", "--mtp", "both")
    assert done.returncode == 2
    assert "`mtp-export compare`" in done.stderr


@pytest.mark.parametrize(
    ("prompts", "told"),
    [(2, "few drafts are accepted: `mtp-export compare"), (6, "verdict: 0% of drafts accepted")],
)
def test_a_poor_drafter_is_told(poor_bundle: Path, prompts: int, told: str, tmp_path: Path) -> None:
    """Few prompts conclude nothing, so that they only say where to look."""
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(held_out_prompts(prompts)), encoding="utf-8")
    done = run("generate", poor_bundle, "--prompts", file, "--max-new-tokens", "16")
    assert done.returncode == 0, done.stderr
    assert told in done.stderr


def test_generate_as_json(tiny_bundles: dict[str, Path]) -> None:
    prompt = held_out_prompts(1)[0]
    done = run(
        "generate",
        tiny_bundles["int8"],
        "-p",
        prompt,
        "--mtp",
        "on",
        "--max-new-tokens",
        "30",
        "--json",
    )
    on, verdict = (json.loads(done.stdout)[key] for key in ("on", "verdict"))
    assert verdict["speed"] is None
    assert on["replies"][0][0]["text"]
    assert 0 <= on["success_rate"] <= 1


def test_generate_from_a_chat_file(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    first, second = held_out_prompts(2)
    chat = tmp_path / "chat.json"
    messages = [
        {"role": "user", "content": first},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": second},
    ]
    chat.write_text(json.dumps(messages))
    done = run("generate", tiny_bundles["int8"], "--chat-file", chat, "--max-new-tokens", "30")
    assert done.returncode == 0, done.stderr
    chat.write_text(json.dumps(messages[:2]))
    done = run("generate", tiny_bundles["int8"], "--chat-file", chat)
    assert done.returncode == 1
    assert "the last message must be the user's" in done.stderr


def test_drafting_without_a_drafter(plain_bundle: Path) -> None:
    done = run("generate", plain_bundle, "-p", "x", "--mtp", "on")
    assert done.returncode == 1
    assert "no drafter" in done.stderr
    for options in (("--mtp", "off"), (), ("--temperature", "1")):
        done = run("generate", plain_bundle, "-p", "x", *options)
        assert done.returncode == 0, done.stderr
        assert "MTP off" in done.stderr


def test_sampling_under_mtp_is_refused(tiny_bundles: dict[str, Path]) -> None:
    done = run("generate", tiny_bundles["int8"], "-p", "x", "--temperature", "0.7")
    assert done.returncode == 2
    assert "--mtp off" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--temperature", "nan"), "nan is not a number"),
        (("--temperature", "inf"), "not in the range"),
        (("--top-p", "nan"), "nan is not a number"),
        (("--seed", "-1"), "not in the range"),
        (("--threads", "2147483648"), "not in the range"),
        (("--draft-length", "9" * 5000), "expected `auto` or a number from 1 on"),
        (("--max-new-tokens", "4294967297"), "not in the range"),
        (("--prompt", "\udcff"), "expected text in UTF-8"),
    ],
)
def test_values_that_no_runtime_takes(options: tuple[str, str], said: str, tmp_path: Path) -> None:
    done = run("generate", tmp_path / "x.litertlm", "--prompt", "x", *options)
    assert done.returncode == 2
    assert said in done.stderr


def test_an_accelerator_for_onnx_is_refused(tmp_path: Path) -> None:
    """As every other option that would do nothing."""
    options = ("--runtime", "onnx", "--accelerator", "gpu")
    done = run("generate", tmp_path, "-p", "x", *options)
    assert done.returncode == 2
    assert "ONNX folders run on the CPU only: leave out --accelerator" in done.stderr
