"""The commands with ``--accelerator gpu``, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bundles import held_out_prompts

NEW_TOKENS = "12"
NOWHERE = {"VK_ICD_FILENAMES": "/nonexistent.json", "VK_DRIVER_FILES": "/nonexistent.json"}
"""A choice of Vulkan devices that leaves none."""


def mtp_export(
    *arguments: str | Path, without_device: bool = False
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **(NOWHERE if without_device else {})}
    command = [sys.executable, "-m", "exporter.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("runtime", ["litert-lm", "reference"])
def test_compare(gpu_bundles: dict[str, Path], runtime: str) -> None:
    asked = ["--prompt", held_out_prompts(1)[0], "--max-new-tokens", NEW_TOKENS]
    done = mtp_export(
        "compare", gpu_bundles["float32"], "--accelerator", "gpu", "--runtime", runtime, *asked,
        "--rounds", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "text: identical" in done.stdout
    assert "INFO" not in done.stdout + done.stderr


def test_verify(gpu_bundles: dict[str, Path], tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(held_out_prompts(2)), encoding="utf-8")
    done = mtp_export(
        "verify", gpu_bundles["float32"], "--accelerator", "gpu", "--prompts", prompts,
        "--max-new-tokens", "8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "fail" not in done.stdout
    assert "pass  float16 on the GPU" in done.stdout


@pytest.mark.parametrize("runtime", ["litert-lm", "reference"])
def test_without_a_device_it_says_what_to_install(
    gpu_bundles: dict[str, Path], runtime: str
) -> None:
    done = mtp_export(
        "generate", gpu_bundles["float32"], "--accelerator", "gpu", "--runtime", runtime,
        "--mtp", "off", "--prompt", "x", without_device=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "apt-get install chromium-common libvulkan1" in done.stderr


@pytest.mark.parametrize("runtime", ["litert-lm", "reference"])
def test_a_bundle_for_the_cpu_is_refused(short_bundle: Path, runtime: str) -> None:
    done = mtp_export(
        "generate", short_bundle, "--accelerator", "gpu", "--runtime", runtime, "--prompt", "x"
    )
    assert done.returncode == 1
    assert "export it again with --accelerator gpu" in done.stderr
