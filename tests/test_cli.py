"""The command's surface: help, exit codes, what goes to stdout and what to stderr."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exporter.bundle.stored_contract import VERSION
from exporter.pip_install import pip_install
from tests.bundles import PROMPT_FILE, TINY_DRAFTER, TINY_TARGET, held_out_prompts
from tests.command import run, run_process, run_without

HELP_SECONDS = 0.5
"""The command must feel immediate; the median of a few runs forgives a busy machine."""


@pytest.mark.slow
@pytest.mark.alone
def test_help_is_immediate() -> None:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        assert run_process("--help").returncode == 0
        seconds.append(time.perf_counter() - started)
    assert statistics.median(seconds) < HELP_SECONDS


def test_help_loads_nothing_heavy() -> None:
    """What makes help slow on a loaded machine is imports; so there must be none."""
    code = (
        "import sys; sys.argv = ['mtp-export', '--help']\n"
        "from exporter.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({m.split('.')[0] for m in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for heavy in ("torch", "numpy", "litert_lm_builder", "ai_edge_litert", "transformers"):
        assert f"'{heavy}'" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "export",
        "inspect",
        "generate",
        "verify",
        "bench",
        "recipes",
        "compare-drafters",
        "card",
        "rebuild",
    ],
)
def test_every_command_has_help(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage:")


def test_recipes_as_json() -> None:
    recipes = json.loads(run("recipes", "--json").stdout)
    assert {"float32", "int8", "int4"} <= {recipe["name"] for recipe in recipes}


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


def test_inspect_shows_what_is_inside(tiny_bundles: dict[str, Path]) -> None:
    done = run("inspect", tiny_bundles["int4"])
    assert done.returncode == 0, done.stderr
    for text in (
        "drafter: yes",
        "contract: kept",
        "verify(",
        "int4",
        "target.layers.*.mlp.gate_proj",
    ):
        assert text in done.stdout


def test_inspect_as_json(tiny_bundles: dict[str, Path], plain_bundle: Path) -> None:
    shown = json.loads(run("inspect", tiny_bundles["int8"], "--json").stdout)
    assert shown["drafter"] is True
    assert shown["contract_kept"] is True
    decode = shown["models"]["tf_lite_prefill_decode"]["signatures"]["decode"]
    assert decode["inputs"]["mask"] == {"dtype": "bool", "shape": [1, 1, 1, 2053]}, (
        "the placeholder"
    )
    assert json.loads(run("inspect", plain_bundle, "--json").stdout)["drafter"] is False


def test_inspect_refuses_what_is_no_bundle(tmp_path: Path) -> None:
    path = tmp_path / "x.litertlm"
    path.write_text("hello")
    for done in (run("inspect", path), run("inspect", tmp_path / "nothing")):
        assert done.returncode == 1
        assert "expected a .litertlm bundle" in done.stderr


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file that Linux has")
def test_a_file_that_cannot_be_read_is_no_traceback() -> None:
    done = run("inspect", "/proc/self/mem")
    assert done.returncode == 1
    assert (
        done.stderr == "mtp-export: /proc/self/mem: the file cannot be read: Input/output error\n"
    )


def test_an_unexpected_error_of_the_system_is_one_sentence() -> None:
    """Whatever reader forgot it."""
    code = (
        "import errno, os\n"
        "from unittest.mock import patch\n"
        "from exporter.cli import main as module\n"
        "def denied(**_): raise OSError(errno.EACCES, os.strerror(errno.EACCES), 'some/file')\n"
        "with patch.object(module.cli, 'main', denied): module.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "mtp-export: some/file: Permission denied\n")


def test_the_engines_extra_is_enough_for_both_modes(tiny_bundles: dict[str, Path]) -> None:
    """As in the demo, which installs nothing else."""
    missing = ("torch", "litert_torch", "tokenizers", "transformers", "onnx", "onnxruntime")
    done = run_without(missing, "generate", tiny_bundles["int8"], "-p", "Who?", "--mtp", "both")
    assert done.returncode == 0, done.stderr
    assert "identical text" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "BUNDLE", "-p", "x", "--runtime", "reference"],
        ["verify", "BUNDLE"],
        ["bench", "BUNDLE"],
        ["quantize-report", "BUNDLE", "--text", PROMPT_FILE],
        ["quantize-search", "a", "b", "-o", "x", "--max-kl", "1", "--text", PROMPT_FILE],
    ],
)
def test_the_runtime_extra_is_named_where_it_is_missing(
    arguments: list[str | Path], tiny_bundles: dict[str, Path]
) -> None:
    given = [tiny_bundles["int8"] if word == "BUNDLE" else word for word in arguments]
    done = run_without(("tokenizers",), *given)
    assert done.returncode == 1, done.stderr
    assert f"needs tokenizers: {pip_install('runtime')}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_export_extra_is_named_where_int8_caches_need_it(tmp_path: Path) -> None:
    arguments = ("export", TINY_TARGET, TINY_DRAFTER, "-o", tmp_path / "x.litertlm")
    done = run_without(("torch", "litert_torch", "tokenizers"), *arguments, "--kv-cache", "int8")
    assert done.returncode == 1, done.stderr
    assert f"{pip_install('export')}, or leave it out" in done.stderr
    assert "Traceback" not in done.stderr


def test_inspect_of_a_broken_contract_exits_with_1(
    tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    content = tiny_bundles["int8"].read_bytes()
    for old, new in (
        (b'"draft_length": 3', b'"draft_length": 4'),
        (f'"version": {VERSION}'.encode(), b'"version": 9'),
    ):
        assert old in content
        path = tmp_path / "broken.litertlm"
        path.write_bytes(content.replace(old, new, 1))
        done = run("inspect", path)
        assert done.returncode == 1
        assert "contract: BROKEN" in done.stdout
    done = run("generate", path, "-p", "x")
    assert done.returncode == 1
    assert "contract version 9" in done.stderr


def test_an_interrupt_within_exec_exits_with_130(tmp_path: Path) -> None:
    """An import that makes a dataclass is one; CPython would end on SIGINT if run with -m."""
    code = (
        "from unittest.mock import patch\n"
        "from exporter.cli import main as module\n"
        "def interrupted(**_): exec('raise KeyboardInterrupt')\n"
        "with patch.object(module.cli, 'main', interrupted): module.main()"
    )
    (tmp_path / "interrupted_main.py").write_text(code)
    command = [sys.executable, "-m", "interrupted_main"]
    where = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(command, env=where, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "mtp-export: interrupted; nothing was left half-written\n"


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


@pytest.mark.parametrize(
    ("said", "meant"), [("genrate", "Did you mean 'generate'?"), ("xyzzy", "No such command")]
)
def test_a_mistyped_command(said: str, meant: str) -> None:
    done = run(said)
    assert done.returncode == 2
    assert meant in done.stderr


def test_an_answer_of_one_token(tiny_bundles: dict[str, Path]) -> None:
    """The engine first looks at its limit after the first round with MTP."""
    options = ("--max-new-tokens", "1", "--mtp", "both", "--prompt")
    done = run("generate", tiny_bundles["int8"], *options, *held_out_prompts(1))
    assert done.returncode == 0, done.stderr
    assert "identical text up to the limit" in done.stderr
