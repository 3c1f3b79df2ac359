"""A device for all tests here, or a loud skip; and bundles made for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.contract.names import Accelerator
from exporter.errors import EngineError
from runtime_py.litert.gpu.device import MISSING, is_missing
from runtime_py.litert.native_log import NativeLog, captured_native_log
from tests.bundles import SHORT_CACHE, SHORT_PREFILLS, TinyBundles, export_tiny
from tests.once import shared_folder

SOFTWARE_DEVICE = Path("/usr/lib/chromium/vk_swiftshader_icd.json")
"""SwiftShader, in Debian's chromium-common."""

CHOICES = ("VK_ICD_FILENAMES", "VK_DRIVER_FILES")
"""What the Vulkan loader lets a user choose a device by; a choice is respected."""


@pytest.fixture(scope="session", autouse=True)
def device() -> Iterator[None]:
    """The software device, unless the environment names another."""
    patch = pytest.MonkeyPatch()
    if SOFTWARE_DEVICE.exists() and not any(name in os.environ for name in CHOICES):
        patch.setenv(CHOICES[0], str(SOFTWARE_DEVICE))
    if reason := _missing_device():
        pytest.skip(f"no GPU and no software device for LiteRT: {reason}")
    yield
    patch.undo()


def _missing_device() -> str | None:
    import torch

    from tests.gpu.operations import compiled, lowered

    content = lowered(lambda x: {"y": x + 1}, {"x": torch.zeros(1, 4)})
    log = NativeLog()
    try:
        with captured_native_log() as log, compiled(content):
            return None
    except EngineError:
        if is_missing(log.text):
            return MISSING
        raise


@pytest.fixture(scope="session")
def gpu_bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The shipped tiny pair for the GPU, by recipe, with a short cache; made when first asked for."""

    def make(output: Path, recipe: str) -> None:
        export_tiny(
            output,
            recipe,
            cache_length=SHORT_CACHE,
            prefill_lengths=SHORT_PREFILLS,
            accelerator=Accelerator.GPU,
        )

    folder = shared_folder(tmp_path_factory) / "gpu"
    folder.mkdir(exist_ok=True)
    return TinyBundles(folder, make)
