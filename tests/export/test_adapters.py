"""Adapters on the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tests.export.command import edit_json, refused, run


def test_options_need_their_checkpoint(tmp_path: Path) -> None:
    """Usage errors, told before anything is read."""
    for arguments in (("--no-drafter", "--drafter-lora", "x"), ("--lora",)):
        done = run("-o", tmp_path / "x.litertlm", *arguments)
        assert done.returncode == 2, done.stderr


def test_what_is_no_adapter(tmp_path: Path) -> None:
    """A folder without one, a checkpoint instead, an adapter of another kind."""
    output = "-o", tmp_path / "x.litertlm"
    (tmp_path / "empty").mkdir()
    refused(
        run(*output, "--lora", tmp_path / "empty"),
        "expected an adapter's folder, with adapter_config.json, found an empty folder",
    )
    refused(run(*output, "--drafter-lora", tmp_path / "none"), "expected a folder or a hub id")
    (tmp_path / "empty" / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    (tmp_path / "empty" / "adapter_model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    edit_json(tmp_path / "empty" / "adapter_config.json", r=4)
    refused(run(*output, "--lora", tmp_path / "empty"), "lora_alpha: expected a positive number")
    edit_json(tmp_path / "empty" / "adapter_config.json", lora_alpha=4)
    refused(run(*output, "--lora", tmp_path / "empty"), "expected an adapter's tensors, found none")
    assert not (tmp_path / "x.litertlm").exists()
