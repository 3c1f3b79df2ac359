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

from exporter.bundle.reader import LLM_METADATA, open_bundle
from exporter.bundle.stored_contract import VERSION
from exporter.contract.names import Section
from exporter.pip_install import pip_install
from tests.bundles import PROMPT_FILE, TINY_DRAFTER, TINY_TARGET
from tests.command import COMMAND, run, run_process, run_without
from tests.damage import damaged

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
        "compare",
        "compare-drafters",
        "chat",
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


def test_inspect_shows_what_is_inside(tiny_bundles: dict[str, Path]) -> None:
    done = run("inspect", tiny_bundles["int4"])
    assert done.returncode == 0, done.stderr
    for text in (
        "drafter: yes",
        "contract: kept",
        "checksums: intact; weights were not read: --check reads them",
        "verify(",
        "int4",
        "target.layers.*.mlp.gate_proj",
    ):
        assert text in done.stdout


def test_inspect_says_what_it_looked_at(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    """A flipped byte of a weight is found with --check, one of the manifest always."""
    bundle = tiny_bundles["int8"]
    opened = open_bundle(bundle)
    weights = opened.model(Section.EMBEDDER)
    assert weights is not None
    path = damaged(bundle, tmp_path, weights.end - 1)
    assert run("inspect", path).returncode == 0
    done = run("inspect", path, "--check")
    assert done.returncode == 1
    assert "contract: kept\n" in done.stdout
    assert "checksums: DAMAGED\n  - the tf_lite_embedder section" in done.stdout
    shown = json.loads(run("inspect", path, "--check", "--json").stdout)["checksums"]
    assert (shown["weights_read"], len(shown["damage"])) == (True, 1)
    done = run("inspect", bundle, "--check")
    assert "checksums: intact, weights included\n" in done.stdout
    metadata = next(s for s in opened.sections if s.data_type == LLM_METADATA)
    done = run("inspect", damaged(bundle, tmp_path, metadata.end - 1))
    assert done.returncode == 1
    assert f"the {LLM_METADATA} section does not have the checksum" in done.stdout


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that Linux has")
def test_output_that_nobody_takes(tiny_bundles: dict[str, Path]) -> None:
    command = [*COMMAND, "inspect", str(tiny_bundles["int8"])]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("mtp-export: No space left on device; make room")
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(
            command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.slow
def test_text_is_utf8_in_every_locale(tiny_bundles: dict[str, Path]) -> None:
    """That of Python is ASCII here, and that of Windows' pipes is another one."""
    command = [*COMMAND, "generate", str(tiny_bundles["int8"])]
    done = subprocess.run(
        [*command, "-p", "h\u00e9", "-p", "-"],
        input="\u2603",
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        check=False,
    )
    assert "==> h\u00e9 <==" in done.stdout
    assert "==> \u2603 <==" in done.stdout


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


def test_an_interrupt_within_a_callback_is_not_lost() -> None:
    """Python ignores what is raised in callbacks of its garbage collector, of which jax has one."""
    code = (
        "import gc, os, signal, sys\n"
        "from exporter.cli.main import main\n"
        "def callback(phase, info):\n"
        "    gc.callbacks.clear()\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "gc.callbacks.append(callback)\n"
        "sys.argv[1:] = ['doctor']\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr.lstrip() == "mtp-export: interrupted; nothing was left half-written\n"


@pytest.mark.parametrize(
    ("said", "meant"), [("genrate", "Did you mean 'generate'?"), ("xyzzy", "No such command")]
)
def test_a_mistyped_command(said: str, meant: str) -> None:
    done = run(said)
    assert done.returncode == 2
    assert meant in done.stderr
