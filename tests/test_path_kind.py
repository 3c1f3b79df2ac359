"""What a path is, and that every command says so: each thing that users give instead of another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from exporter.bundle.reader import open_bundle
from exporter.checkpoints.checkpoint import open_checkpoint, resolve
from exporter.checkpoints.lora.adapter import open_adapter
from exporter.cli.main import cli
from exporter.errors import BundleError, CheckpointError
from exporter.path_kind import Kind, kind_of
from tests.bundles import TINY_TARGET

BASE = "google/gemma-4-E2B-it"


def fill(folder: Path, *names: str) -> Path:
    """A folder with empty files, and an adapter's configuration that names its base."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        named = json.dumps({"peft_type": "LORA", "base_model_name_or_path": BASE})
        path.write_text(named if path.name == "adapter_config.json" else "")
    return folder


ADAPTER = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "training_args.bin",
    "tokenizer.json",
)
CHECKPOINT = ("config.json", "model.safetensors", "optimizer.pt")

FOLDERS: dict[str, tuple[tuple[str, ...], Kind, str]] = {
    "adapter": (ADAPTER, Kind.ADAPTER, f"found a LoRA adapter of {BASE}; `export "),
    "pickled adapter": (("adapter_config.json", "adapter_model.bin"), Kind.ADAPTER, BASE),
    "MLX adapter": (
        ("adapter_config.json", "adapters.safetensors", "0000100_adapters.safetensors"),
        Kind.MLX_ADAPTER,
        "mlx_lm.fuse",
    ),
    "DeepSpeed": (
        (
            "config.json",
            "latest",
            "zero_to_fp32.py",
            "rng_state_0.pth",
            "global_step5/mp_rank_00.pt",
        ),
        Kind.ZERO_STATE,
        "given/zero_to_fp32.py ",
    ),
    "FSDP": (
        ("config.json", "pytorch_model_fsdp_0/__0_0.distcp", "scheduler.pt"),
        Kind.FSDP_STATE,
        "accelerate merge-weights ",
    ),
    "both": ((*ADAPTER, *CHECKPOINT), Kind.BOTH, "if the adapter is merged already, remove it"),
    "trainer output": (
        ("README.md", *(f"checkpoint-{n}/{name}" for n in (10, 20) for name in ADAPTER)),
        Kind.BELOW,
        "checkpoint-20",
    ),
    "one level down": (
        ("README.md", *(f"final/{name}" for name in CHECKPOINT)),
        Kind.BELOW,
        "final",
    ),
    "hub cache": (
        ("refs/main", *(f"snapshots/0a1b/{name}" for name in CHECKPOINT)),
        Kind.BELOW,
        "snapshots/0a1b",
    ),
    "GGUF": (("gemma.Q4_K_M.gguf", "config.json"), Kind.GGUF, "converted from"),
    "pickles": (("config.json", "pytorch_model.bin"), Kind.PICKLED, "safe_serialization=True"),
    "ONNX": (("config.json", "model.onnx"), Kind.ONNX, "model.onnx"),
    "our ONNX": (("manifest.json", "decode.onnx"), Kind.ONNX_EXPORT, "generate --runtime onnx"),
    "bundle": (
        ("gemma.litertlm",),
        Kind.BUNDLE,
        "a folder with a .litertlm bundle (gemma.litertlm)",
    ),
    "MediaPipe": (("gemma.task",), Kind.TFLITE, "gemma.task"),
    "no config": (("model.safetensors",), Kind.WEIGHTS_ONLY, "put the model's config.json"),
    "no weights": (("config.json", "tokenizer.json"), Kind.CONFIG_ONLY, "download"),
    "other": (("a.txt", "b.txt"), Kind.OTHER, "a folder with a.txt, b.txt"),
    "empty": ((), Kind.EMPTY, "an empty folder"),
}


@pytest.mark.parametrize(("names", "kind", "said"), FOLDERS.values(), ids=FOLDERS)
def test_folder(names: tuple[str, ...], kind: Kind, said: str, tmp_path: Path) -> None:
    """Given as a checkpoint, as a bundle and, unless it is one, as an adapter."""
    folder = fill(tmp_path / "given", *names)
    folder.mkdir(exist_ok=True)
    found = kind_of(folder)
    assert found.kind is kind
    with pytest.raises(CheckpointError) as as_checkpoint:
        open_checkpoint(folder)
    with pytest.raises(BundleError) as as_bundle:
        open_bundle(folder)
    caught = [as_checkpoint, as_bundle]
    if kind not in (Kind.ADAPTER, Kind.BOTH):
        with pytest.raises(CheckpointError) as as_adapter:
            open_adapter(folder)
        caught.append(as_adapter)
    for error in caught:
        assert found.found in str(error.value)
        assert said in str(error.value)


def test_checkpoint_in_the_wrong_place() -> None:
    assert kind_of(TINY_TARGET).kind is Kind.CHECKPOINT
    for wrong in (open_bundle, open_adapter):
        with pytest.raises((BundleError, CheckpointError)) as caught:
            wrong(TINY_TARGET)
        assert (
            f"found a checkpoint (config.json and safetensors weights); `export {TINY_TARGET}"
            in str(caught.value)
        )


FILES: dict[str, tuple[str, bytes, Kind, str]] = {
    "shard": ("model.safetensors", b"", Kind.PART, "give the folder it is in"),
    "adapter's": ("adapter_config.json", b"{}", Kind.PART, "give the folder it is in"),
    "pickle": ("pytorch_model.bin", b"PK", Kind.PICKLED, "safe_serialization=True"),
    "GGUF": ("gemma.gguf", b"GGUF\3\0\0\0", Kind.GGUF, "converted from"),
    "GGUF by another name": ("gemma.dat", b"GGUF\3\0\0\0", Kind.GGUF, "converted from"),
    "bundle": ("gemma.litertlm", b"LITERTLM\1\0\0\0", Kind.BUNDLE, "`generate`"),
    "bundle in name only": ("gemma.litertlm", b"<html>", Kind.OTHER, "a file of no known kind"),
    "other": ("x.txt", b"x", Kind.OTHER, "a file of no known kind"),
}


@pytest.mark.parametrize(("name", "content", "kind", "said"), FILES.values(), ids=FILES)
def test_file(name: str, content: bytes, kind: Kind, said: str, tmp_path: Path) -> None:
    """Given where a folder or hub id is expected, and where a bundle is."""
    (tmp_path / name).write_bytes(content)
    assert kind_of(tmp_path / name).kind is kind

    def refuse(name: str, revision: str | None) -> tuple[Path, str]:
        raise AssertionError("a local file needs no hub")

    for adapter in (None, "x"):
        with pytest.raises(CheckpointError, match=said):
            resolve(str(tmp_path / name), None, refuse, adapter)
    if kind is not Kind.BUNDLE:
        with pytest.raises(BundleError, match=said):
            open_bundle(tmp_path / name)


def test_inspect_names_what_it_is(tmp_path: Path) -> None:
    """Without the onnx extra being asked for."""
    for given, said in (
        (TINY_TARGET, "found a checkpoint"),
        (fill(tmp_path / "a", *ADAPTER), f"found a LoRA adapter of {BASE}"),
        (fill(tmp_path / "g", "x.gguf"), "found weights for llama.cpp (x.gguf)"),
        (tmp_path / "none", "found no such file or folder"),
    ):
        done = CliRunner().invoke(cli, ["inspect", str(given)])
        assert isinstance(done.exception, BundleError)
        assert "expected a .litertlm bundle" in str(done.exception)
        assert said in str(done.exception)
