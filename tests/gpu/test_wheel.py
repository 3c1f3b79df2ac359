"""Why the GPU is driven through the engine's library and not through ``ai-edge-litert``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from exporter.contract.names import PARAM_TENSOR, key_cache
from exporter.model.text.kv_gpu import GpuKv
from tests.gpu.operations import lowered

COMPILE = """
import sys
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
CompiledModel.from_file(sys.argv[1], HardwareAccelerator.GPU)
"""


def test_the_wheel_ends_the_process_on_a_composite(tmp_path: Path) -> None:
    """A segmentation fault in 2.3.0; should this fail, the engine's library may have become unnecessary."""
    keys = key_cache(0)
    content = lowered(
        lambda rows, **given: {"y": GpuKv(given[keys], rows, given[PARAM_TENSOR]).scores(rows)},
        {
            "rows": torch.zeros(1, 1, 8, 32),
            keys: torch.zeros(1, 1, 64, 32),
            PARAM_TENSOR: torch.zeros(1, 1, 1, 7, dtype=torch.int32),
        },
    )
    file = tmp_path / "composite.tflite"
    file.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, str(file)], capture_output=True, check=False
    )
    assert done.returncode < 0
