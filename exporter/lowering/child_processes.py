"""Child processes that make graphs. They run side by side, and none outlives a failure or an interrupt."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from exporter.child_process import child_command
from exporter.errors import LoweringError
from exporter.files.interrupts import held_back

LOG_LINES_SHOWN = 15


@dataclass(frozen=True)
class Job:
    """What one process does."""

    title: str
    """What messages call the job, such as "lowering decode"."""
    module: str
    """Run with ``request`` as its argument."""
    request: Path


def run_jobs(jobs: Sequence[Job]) -> None:
    """Do all jobs at the same time.

    Raises:
        LoweringError: A process could not be started, or the first that failed did; the message then
            ends with what it printed last.
    """
    running: list[_Running] = []
    with ThreadPoolExecutor(len(jobs)) as waiting:
        try:
            with held_back():  # or a process that has just been started would not be known
                for job in jobs:
                    running.append(_Running(job))
            for ended in as_completed([waiting.submit(each.wait) for each in running]):
                ended.result()
        finally:
            for each in running:
                each.stop()


class _Running:
    """A process that does a job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.log = job.request.with_name(f"{job.request.name}.log")
        try:
            with self.log.open("wb") as log:
                self.process = subprocess.Popen(
                    child_command(job.module, str(job.request)),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
        except OSError as error:
            raise LoweringError(f"{job.title} could not be started: {error}") from error

    def wait(self) -> None:
        if self.process.wait():
            last = self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
            raise LoweringError(
                f"{self.job.title} failed (exit status {self.process.returncode}); its last lines were:\n"
                + "\n".join(last)
            )

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
