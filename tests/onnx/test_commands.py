"""The commands on ONNX folders: generate, inspect, verify; and that nothing else needs onnx."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from exporter.pip_install import pip_install
from tests.bundles import held_out_prompts
from tests.command import Done, run

WITHOUT_ONNX = """
import sys
sys.modules["onnx"] = sys.modules["onnxruntime"] = None  # as if they were not installed
from exporter.cli.main import main
sys.argv = ["mtp-export", *sys.argv[1:]]
main()
"""

IMPORT_EVERYTHING = """
import sys
import exporter.cli.bench, exporter.cli.export, exporter.cli.generate, exporter.cli.inspect
import exporter.cli.chat, exporter.cli.chat_talk, exporter.cli.compare
import exporter.cli.runtimes, exporter.cli.verify, exporter.verify.ladder, exporter.pipeline
import exporter.litertlm.format, runtime_py.opened_model, runtime_py.reference_run
print([name for name in sys.modules if name.split(".")[0] in ("onnx", "onnxruntime", "torch")])
"""


def test_compare(folders: dict[str, Path]) -> None:
    asked = ("--prompt", held_out_prompts(1)[0], "--max-new-tokens", "24", "--threads", "2")
    done = run("compare", folders["int4"], "--runtime", "onnx", *asked, "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    (off,), (on,) = (json.loads(done.stdout)["runs"][mode] for mode in ("off", "on"))
    assert on["replies"][0][0]["text"] == off["replies"][0][0]["text"]
    assert on["success_rate"] > 0.5


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--weight-cache", "w"), 2, "ONNX Runtime keeps no packed weights"),
        (("--max-num-tokens", "64"), 1, "asked for a cache of 64 slots"),
        (("--image", "PICTURE"), 1, "expected text, found pictures: ONNX folders take text only"),
    ],
)
def test_generate_refuses(
    arguments: tuple[str, ...], code: int, words: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    Image.new("RGB", (9, 9)).save(picture := tmp_path / "picture.png")
    arguments = tuple(str(picture) if word == "PICTURE" else word for word in arguments)
    done = run("generate", folders["int4"], "--runtime", "onnx", "--prompt", "Hello", *arguments)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr


def test_graphs_for_a_gpu_are_refused() -> None:
    done = run("export", "a", "b", "-o", "c", "--format", "onnx", "--accelerator", "gpu")
    assert done.returncode == 2
    assert "--format onnx needs --accelerator cpu" in done.stderr


def test_each_runtime_says_what_it_takes(
    folders: dict[str, Path], tiny_bundles: dict[str, Path]
) -> None:
    folder = run("generate", folders["int4"], "--prompt", "Hello")
    assert folder.returncode == 1
    assert "found a folder that `export --format onnx` made" in folder.stderr
    bundle = run("generate", tiny_bundles["int4"], "--runtime", "onnx", "--prompt", "Hello")
    assert bundle.returncode == 1
    assert "expected a folder made by mtp-export export --format onnx" in bundle.stderr


def test_inspect(folders: dict[str, Path]) -> None:
    done = run("inspect", folders["smallest"])
    assert done.returncode == 0, done.stderr
    for line in ("operators: ai.onnx 20, com.microsoft 1", "contract: kept", "target.data: "):
        assert line in done.stdout
    found = json.loads(run("inspect", folders["smallest"], "--json").stdout)
    assert found["contract_kept"]
    assert list(found["models"]["verify"]["inputs"])[:2] == ["embeddings", "per_layer_embeddings"]
    assert found["models"]["decode"]["outputs"]["kv_cache_k_0"]["shape"] == [1, 1, -1, 32]
    bits = {w["name"]: w["bits"] for w in found["weights"]["target.data"]["weights"]}
    assert bits["target.layers.*.mlp.up_proj.weight"] == 2
    assert bits["target.layers.*.self_attn.q_proj.weight"] == 4
    assert bits["target.norm.weight"] == 32


def test_inspect_finds_a_broken_contract(folders: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folders["int8"], copy)
    (copy / "verify.onnx").unlink()
    done = run("inspect", copy)
    assert done.returncode == 1
    assert "signature verify is missing" in done.stdout
    assert "checksums: DAMAGED\n  - verify.onnx is missing or has another checksum" in done.stdout


def test_inspect_reads_weights_if_asked_to(folders: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folders["int8"], copy)
    assert "checksums: intact, weights included" in run("inspect", copy, "--check").stdout
    content = (copy / "target.data").read_bytes()
    (copy / "target.data").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "checksums: intact; weights were not read" in run("inspect", copy).stdout
    done = run("inspect", copy, "--check")
    assert done.returncode == 1
    assert "  - target.data is missing or has another checksum" in done.stdout


@pytest.mark.parametrize("recipe", ["float32", "int4", "smallest"])
def test_verify(recipe: str, folders: dict[str, Path], tiny_bundles: dict[str, Path]) -> None:
    rung = onnx_rung(tiny_bundles[recipe], folders[recipe], 0)
    assert rung["verdict"] == "pass", rung
    figures = {figure["name"]: figure["value"] for figure in rung["figures"]}
    assert figures["answers that differ"] == 0
    assert figures["tokens compared"] > 100
    assert figures["verify: logits"] > 0


def test_verify_fails_with_other_weights(
    folders: dict[str, Path], tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    """A folder that claims to be of the same export and has one wrong row of weights."""
    from exporter.bundle.onnx_folder import FILES
    from exporter.files.checksum import sha256
    from exporter.path_kind import MANIFEST
    from tests.onnx.reading import external, models

    copy = tmp_path / "copy"
    shutil.copytree(folders["float32"], copy)
    entry = external(models(copy)["decode"])["target.layers.2.mlp.down_proj.weight"]
    with (copy / entry.file).open("r+b") as stream:
        stream.seek(entry.offset)
        stream.write(bytes(entry.length // 128))
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest[FILES][entry.file] = sha256(copy / entry.file)
    (copy / MANIFEST).write_text(json.dumps(manifest))
    rung = onnx_rung(tiny_bundles["float32"], copy, 3)
    assert rung["verdict"] == "fail"


def test_verify_wants_the_same_export(
    folders: dict[str, Path], tiny_bundles: dict[str, Path]
) -> None:
    rung = onnx_rung(tiny_bundles["float32"], folders["int8"], 3)
    assert rung["verdict"] == "fail"
    assert "exported with another recipe" in rung["problems"][0]


def onnx_rung(bundle: Path, folder: Path, code: int) -> dict[str, Any]:
    done = run("verify", bundle, "--onnx", folder, "--max-new-tokens", "24", "--json")
    assert done.returncode == code, done.stderr
    (rung,) = [rung for rung in json.loads(done.stdout)["rungs"] if rung["key"] == "onnx"]
    return dict(rung)


def test_without_the_extra(folders: dict[str, Path], tiny_bundles: dict[str, Path]) -> None:
    """One sentence where it is needed; no difference where it is not."""

    def without(*arguments: str | Path) -> Done:
        command = [sys.executable, "-c", WITHOUT_ONNX, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    folder = folders["int8"]
    for arguments in (
        ("export", "a", "b", "-o", "c", "--format", "onnx"),
        ("inspect", folder),
        ("generate", folder, "--runtime", "onnx", "--prompt", "Hello"),
        ("verify", tiny_bundles["int8"], "--onnx", folder),
    ):
        done = without(*arguments)
        assert done.returncode == 1, done.stderr
        assert f"need onnx and onnxruntime: {pip_install('onnx')}" in done.stderr
    assert without("inspect", tiny_bundles["int8"]).returncode == 0


def test_nothing_else_imports_onnx() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stdout + done.stderr
