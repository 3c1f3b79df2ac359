"""A disk that fills up in the middle, and sources that go away: one sentence, the exit code, nothing left.

A limit on the length of files does what a full disk does, to every process that a command starts, too. Where
LiteRT runs, which ends the process then, there is a small file system.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.errors import LoweringError, MtpExportError, OutputError
from exporter.files.scratch import VARIABLE
from exporter.lowering.graph_cache import LITERT, find_graphs
from exporter.lowering.units import litert_units
from exporter.options import ExportOptions
from exporter.pipeline import export
from exporter.progress import Advance, SilentReporter
from quantize.builtin_recipes import RECIPES
from tests import command
from tests.bundles import PROMPT_FILE, TINY_DRAFTER, TINY_TARGET
from tests.export.command import refused, run


@contextmanager
def files_end_at(nbytes: int) -> Iterator[None]:
    """No file of this process and its children gets longer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class WhenStoring(SilentReporter):
    """Does something once the weights are being stored."""

    def __init__(self, act: Any) -> None:
        self._act = act

    @contextmanager
    def stage(self, title: str, total: int | None, unit: str = "B") -> Iterator[Advance]:
        with super().stage(title, total, unit) as advance:
            if title.startswith("Storing"):
                self._act()
            yield advance


def export_while(act: Any, target: Path, output: Path) -> None:
    checkpoints = open_checkpoint(target), open_checkpoint(TINY_DRAFTER)
    export(*checkpoints, output, ExportOptions(RECIPES["int8"]), WhenStoring(act))


@pytest.mark.slow
def test_a_disk_that_fills_up_while_weights_are_stored(folder: Path) -> None:
    with (
        files_end_at(1 << 21),
        pytest.raises(OutputError, match="the disk filled up while writing; nothing was left"),
    ):
        export_while(lambda: None, TINY_TARGET, folder / "x.litertlm")
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_a_command_without_room_for_temporary_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv(VARIABLE, str(temporary))
    with files_end_at(1 << 16):
        done = run("-o", folder / "x.litertlm")
    refused(done, "File too large; make room for temporary files")
    assert len(done.stderr.splitlines()[-1].split("mtp-export: ")) == 2
    assert list(temporary.iterdir()) == list(folder.iterdir()) == []


def test_graphs_without_room_for_temporary_files(tmp_path: Path) -> None:
    """Told before a process is started: what it is asked for has no room."""
    from tests.lowering.test_graph_cache import tiny_request

    request = tiny_request()
    with files_end_at(64), pytest.raises(LoweringError, match="make room for temporary files"):
        find_graphs(
            request, list(litert_units(request.contract)), LITERT, SilentReporter(), fresh=True
        )


@pytest.mark.slow
def test_a_comparison_without_room(tiny_bundles: dict[str, Path], small_disk: Path) -> None:
    """The logits of the reference are what takes room: 8 passages of 64 tokens, 2048 floats each."""
    bundles = tiny_bundles["float32"], tiny_bundles["int8"]
    small = (
        "--passages",
        "8",
        "--passage-length",
        "64",
        "--prompt-tokens",
        "24",
        "--new-tokens",
        "8",
    )
    done = command.run(
        "quantize-report", *bundles, "--text", PROMPT_FILE, *small, "--keep", small_disk
    )
    refused(done, "GB are needed while measuring")
    assert list(small_disk.iterdir()) == []


@pytest.mark.slow
def test_a_card_without_room(tiny_bundles: dict[str, Path], folder: Path) -> None:
    with files_end_at(256):
        done = command.run(
            "card", tiny_bundles["int8"], "-o", folder / "README.md", "--license", "apache-2.0"
        )
    refused(done, "README.md")
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_a_state_of_training_without_room(folder: Path) -> None:
    """What was kept before stays; torch's own error would be a traceback."""
    import torch

    from exporter.tune.training import save_whole
    from exporter.tune.work_folder import WorkFolder

    work = WorkFolder.open(folder, {"a": 1}, resume=False)
    save_whole({"step": torch.zeros(4)}, folder / "state.pt")
    before = sorted(folder.iterdir())
    with (
        files_end_at(1 << 14),
        pytest.raises(OutputError, match="--resume goes on"),
        work.written(),
    ):
        save_whole({"step": torch.zeros(1 << 20)}, folder / "state.pt")
    assert sorted(folder.iterdir()) == before
    assert torch.load(folder / "state.pt", weights_only=True)["step"].numel() == 4


@pytest.mark.slow
@pytest.mark.parametrize("how", ["truncated", "removed"])
def test_a_source_that_goes_away(how: str, copies: tuple[Path, Path], folder: Path) -> None:
    """While weights are stored; checksums are taken at the same time."""
    target, _ = copies

    def act() -> None:
        if how == "truncated":
            os.truncate(target / "model.safetensors", 1 << 20)
        else:
            shutil.rmtree(target)

    with pytest.raises(MtpExportError, match=re.escape(str(target))):
        export_while(act, target, folder / "x.litertlm")
    assert list(folder.iterdir()) == []
