"""Hub ids without a hub: the one sentence a user gets. Downloading is huggingface_hub's business."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    """Offline mode makes the library answer at once that nothing is there."""
    command = [
        *(
            sys.executable,
            "-m",
            "exporter.cli.main",
            "export",
            "google/gemma-4-none",
            "--no-drafter",
        ),
        *("-o", str(tmp_path / "x.litertlm")),
    ]
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "google/gemma-4-none: no local folder of that name" in done.stderr
    assert "Traceback" not in done.stderr
