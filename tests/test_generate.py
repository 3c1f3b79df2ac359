"""``mtp-export generate``: what it prints, what it compares, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bundles import held_out_prompts
from tests.command import run, run_without


def test_generate_both_prints_the_text_twice(tiny_bundles: dict[str, Path]) -> None:
    prompt = held_out_prompts(1)[0]
    done = run("generate", tiny_bundles["int8"], "--prompt", prompt, "--max-new-tokens", "250")
    assert done.returncode == 0, done.stderr
    off, on = done.stdout.splitlines()
    assert off == on
    assert off
    assert "success rate of drafts" in done.stderr
    assert "identical text" in done.stderr
    assert "verdict: " in done.stderr.splitlines()[-1]
    assert "Fewer than 6 prompts conclude nothing" in done.stderr


@pytest.mark.alone
@pytest.mark.parametrize("runtime", ["litert-lm", "reference"])
def test_generate_says_that_a_poor_drafter_does_not_pay(
    poor_bundle: Path, runtime: str, tmp_path: Path
) -> None:
    """Three drafts in every round, in both runtimes; adaptive drafting would stop."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(held_out_prompts(6)), encoding="utf-8")
    fixed = ("--draft-length", "3") if runtime == "reference" else ()
    asked = "--prompts", prompts, "--max-new-tokens", "24", "--runtime", runtime, *fixed
    done = run("generate", poor_bundle, *asked, "--json")
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)["verdict"]
    assert verdict["outcome"] == "MTP does not pay", verdict["text"]
    assert verdict["round_cost"] > 1
    assert len(verdict["drafts"]["positions"]) == (0 if runtime == "litert-lm" else 3)
    assert "ship with MTP off" in verdict["text"]


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
    assert run("generate", plain_bundle, "-p", "x", "--mtp", "off").returncode == 0


def test_sampling_under_mtp_is_refused(tiny_bundles: dict[str, Path]) -> None:
    done = run("generate", tiny_bundles["int8"], "-p", "x", "--temperature", "0.7")
    assert done.returncode == 2
    assert "--mtp off" in done.stderr


def test_a_seed_decides_a_text_whatever_is_drafted(tiny_bundles: dict[str, Path]) -> None:
    """Drafting adapts to how long things take, which differs from run to run."""
    options = ("--runtime", "reference", "--temperature", "2", "--seed", "7", "--json")
    prompts = [option for prompt in held_out_prompts(3) for option in ("-p", prompt)]
    asked = (*prompts, "--max-new-tokens", "60", *options)
    done = [run("generate", tiny_bundles["int8"], *asked, "--mtp", mtp) for mtp in ("both", "on")]
    assert [each.returncode for each in done] == [0, 0], done
    both, on = (json.loads(each.stdout) for each in done)
    found = [
        [reply["text"] for (reply,) in side["replies"]]
        for side in (both["off"], both["on"], on["on"])
    ]
    assert found[0] == found[1] == found[2]
    assert len(set(found[0])) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--temperature", "nan"), "nan is not a number"),
        (("--temperature", "inf"), "not in the range"),
        (("--top-p", "nan"), "nan is not a number"),
        (("--seed", "-1"), "not in the range"),
        (("--threads", "2147483648"), "not in the range"),
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


def test_the_engines_extra_is_enough_for_both_modes(tiny_bundles: dict[str, Path]) -> None:
    """As in the demo, which installs nothing else."""
    missing = ("torch", "litert_torch", "tokenizers", "transformers", "onnx", "onnxruntime")
    done = run_without(missing, "generate", tiny_bundles["int8"], "-p", "Who?", "--mtp", "both")
    assert done.returncode == 0, done.stderr
    assert "identical text" in done.stderr


def test_texts_that_differ_exit_with_3() -> None:
    """No good bundle makes them differ, so the comparison is given two runs that do."""
    from exporter.cli.generate_output import compare
    from exporter.errors import ParityError
    from runtime_py.reply import Reply, RunResult
    from runtime_py.same_text import ReplyLimits

    def answering(text: str) -> RunResult:
        return RunResult(((Reply(text, 1, 1.0, 5, 1.0, 0.0, 9),),), None, 0.0)

    compare(answering("one two"), answering("one two"), ReplyLimits(100, 100, 3))
    with pytest.raises(ParityError, match="differ in answer 1 after 4 characters") as caught:
        compare(answering("one two"), answering("one six"), ReplyLimits(100, 100, 3))
    assert caught.value.exit_code == 3


def test_an_answer_of_one_token(tiny_bundles: dict[str, Path]) -> None:
    """The engine first looks at its limit after the first round with MTP."""
    options = ("--max-new-tokens", "1", "--mtp", "both", "--prompt")
    done = run("generate", tiny_bundles["int8"], *options, *held_out_prompts(1))
    assert done.returncode == 0, done.stderr
    assert "identical text up to the limit" in done.stderr
