"""How much memory an export takes: weights are streamed, so far less than the model has.

A planted pair of over 1 GB is exported in a process of its own, whose anonymous memory (everything
but mapped files) is sampled from outside while it binds.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.checkpoints.checkpoint import Checkpoint, open_checkpoint
from exporter.files.output import size_of
from exporter.formats import format_of
from exporter.options import ExportOptions, OutputFormat
from exporter.pipeline import export
from exporter.progress import Advance
from quantize.builtin_recipes import RECIPES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
RECIPE = "int4"

DISK_NEEDED = 6e9
"""Bytes: the checkpoints, the bundle twice, and room for others on the same disk."""

MEMORY_LIMIT = 200e6
"""Bytes of anonymous memory; half of the 400 MB that must never be passed. Measured: 86 MB, most of
it blocks of 8 MB of float32, their copies, and what Python and numpy take. An export that read whole
tensors instead of blocks was measured at 361 MB, so the test would notice."""

LARGEST_TENSOR = 64 * 1024 * 1024
LEAST_BYTES = 1_000_000_000

SAMPLING_INTERVAL = 0.005
LEAST_SAMPLES = 100


@dataclass(frozen=True)
class Sample:
    """Anonymous memory of a process at one moment."""

    moment: float  # of time.monotonic(), which all processes share
    anonymous: int  # bytes


class PrintingReporter:
    """Prints when each stage begins and ends, as JSON lines."""

    @contextmanager
    def stage(self, title: str, total: int | None, unit: str = "B") -> Iterator[Advance]:
        begin = time.monotonic()
        yield lambda count: None
        print(json.dumps([title, begin, time.monotonic()]), flush=True)

    def note(self, text: str) -> None:
        return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A planted pair of size `mid`, removed afterwards: pytest would keep it for a while."""
    made = tmp_path_factory.mktemp("mid")
    free = shutil.disk_usage(made).free
    if free < DISK_NEEDED:
        reason = f"{made} has {free / 1e9:.1f} GB free, this test needs {DISK_NEEDED / 1e9:.0f} GB"
        print(reason)
        pytest.skip(reason)
    script = ROOT / "scripts" / "make_planted_pair.py"
    command = [sys.executable, str(script), "--size", "mid", "--output", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize("output_format", list(OutputFormat))
def test_binding_streams(output_format: OutputFormat, folder: Path) -> None:
    """The exporting process alone: lowering has its memory in child processes."""
    assert_large_in_small_tensors(folder)
    bundle, log = folder / f"mid{format_of(output_format).SUFFIX}", folder / "stages"
    with log.open("wb") as stages:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.export.test_bind_memory",
                str(folder),
                str(bundle),
                output_format,
            ],
            cwd=ROOT,
            stdout=stages,
        )
        samples = list(anonymous_memory(process))
    assert process.wait() == 0
    begin, end = stage_times(log, f"Storing weights as {RECIPE}")
    binding = [sample.anonymous for sample in samples if begin <= sample.moment <= end]
    assert len(binding) >= LEAST_SAMPLES
    whole = max(sample.anonymous for sample in samples)
    measured = (
        f"binding took {end - begin:.1f} s and at most {max(binding) / 1e6:.0f} MB of anonymous "
        f"memory ({len(binding)} samples), the whole export {whole / 1e6:.0f} MB; the limit is "
        f"{MEMORY_LIMIT / 1e6:.0f} MB"
    )
    print(measured)
    assert whole < MEMORY_LIMIT, measured
    assert size_of(bundle) > LEAST_BYTES / 4


def assert_large_in_small_tensors(folder: Path) -> None:
    """A small model, or one tensor that dwarfs the others, would prove nothing."""
    tensors = [
        tensor for checkpoint in checkpoints(folder) for tensor in checkpoint.tensors.values()
    ]
    assert sum(tensor.nbytes for tensor in tensors) > LEAST_BYTES
    assert max(tensor.nbytes for tensor in tensors) <= LARGEST_TENSOR


def checkpoints(folder: Path) -> tuple[Checkpoint, Checkpoint]:
    return open_checkpoint(folder / "target"), open_checkpoint(folder / "drafter")


def anonymous_memory(process: subprocess.Popen[bytes]) -> Iterator[Sample]:
    """Samples of a process until it ends."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        for line in status.read_text().splitlines():
            if line.startswith("RssAnon:"):  # absent once the process is a zombie
                yield Sample(time.monotonic(), int(line.split()[1]) * 1024)
        time.sleep(SAMPLING_INTERVAL)


def stage_times(log: Path, title: str) -> tuple[float, float]:
    """Begin and end of one stage."""
    stages = {name: (begin, end) for name, begin, end in map(json.loads, log.open())}
    return stages[title]


def main(folder: Path, bundle: Path, output_format: OutputFormat) -> None:
    """The process that is measured."""
    options = ExportOptions(
        RECIPES[RECIPE], cache_length=1024, prefill_lengths=(16,), format=output_format
    )
    export(*checkpoints(folder), bundle, options, PrintingReporter())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), OutputFormat(sys.argv[3]))
