"""The scratch folder goes away whenever an interrupt comes; what is published is on the disk."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import OutputError
from exporter.files.interrupts import STOPS, Interrupts
from exporter.files.output import check_destination, publish, publish_folder, scratch_folder

NOBODY = 65534


@pytest.fixture(autouse=True)
def sigint_raises() -> Iterator[None]:
    """As Python has it, also where the tests were told to ignore the signal (``nohup``)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def raising(function: Any, *, after: bool, number: signal.Signals = signal.SIGINT) -> Any:
    """The function, with a signal in its first call."""
    left = [number]

    def interrupted(*arguments: Any, **named: Any) -> Any:
        if left and not after:
            signal.raise_signal(left.pop())
        result = function(*arguments, **named)
        if left:
            signal.raise_signal(left.pop())
        return result

    return interrupted


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize(
    ("module", "name"),
    [(tempfile, "mkdtemp"), (shutil, "rmtree"), (Interrupts, "hold"), (Interrupts, "release")],
)
def test_an_interrupt_leaves_no_folder(
    module: Any, name: str, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the worst moments; the interrupt is not lost either."""
    before = [signal.getsignal(number) for number in STOPS]
    monkeypatch.setattr(module, name, raising(getattr(module, name), after=after))
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path / "x") as folder:
        (folder / "content").write_text("half")
    assert list(tmp_path.iterdir()) == []
    assert [signal.getsignal(number) for number in STOPS] == before


def test_a_second_interrupt_while_the_folder_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first comes just before signals are held back."""
    before = [signal.getsignal(number) for number in STOPS]
    monkeypatch.setattr(Interrupts, "hold", raising(Interrupts.hold, after=False))
    monkeypatch.setattr(shutil, "rmtree", raising(shutil.rmtree, after=False))
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path / "x"):
        pass
    assert list(tmp_path.iterdir()) == []
    assert [signal.getsignal(number) for number in STOPS] == before


def test_a_folder_that_cannot_be_made_leaves_interrupts_on(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"), scratch_folder(tmp_path / "no" / "x"):
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_while_signals_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other signal is not held back from then on."""
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        interrupts = Interrupts()
        monkeypatch.setattr(signal, "signal", raising(signal.signal, after=True))
        with pytest.raises(KeyboardInterrupt):
            interrupts.restore()
        signal.raise_signal(signal.SIGTERM)
        assert came == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_interrupt_while_signals_are_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is held back already is let through again."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with monkeypatch.context() as patch:
            interrupted = raising(signal.signal, after=True, number=signal.SIGTERM)
            patch.setattr(signal, "signal", interrupted)
            with pytest.raises(KeyboardInterrupt):
                Interrupts()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) is stop
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_interrupt_at_work_is_not_held_back(tmp_path: Path) -> None:
    done = []

    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        done.append("more")

    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path / "x"):
        work()
    assert done == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["model[1].litertlm", "模" * 79 + ".litertlm", "a" * 255],
    ids=["pattern", "multi-byte", "longest"],
)
def test_any_name_that_a_file_can_have(name: str, tmp_path: Path) -> None:
    output = tmp_path / name
    output.touch()  # the file system takes this name
    output.unlink()
    with scratch_folder(output) as killed:
        shutil.copytree(killed, tmp_path / "copy")
    (tmp_path / "copy").rename(killed)
    with scratch_folder(output) as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_a_live_folder_is_not_taken_for_a_stale_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run for the same output comes between a folder and its lock, and after it."""
    flock = fcntl.flock

    def late(lock: Any, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        with scratch_folder(tmp_path / "x"):
            flock(lock, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with scratch_folder(tmp_path / "x") as folder, scratch_folder(tmp_path / "x") as other:
        for made in (folder, other):
            (made / "content").write_text("half")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_being_removed_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run has locked it and is about to remove it."""
    flock, seen = fcntl.flock, []

    def late(lock: Any, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        seen.append(Path(lock.name).parent)
        with Path(lock.name).open() as other:
            flock(other, fcntl.LOCK_EX)
            flock(lock, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with scratch_folder(tmp_path / "x") as folder:
        assert folder not in seen
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems have none: work goes on, and whose owner may live is not removed."""

    def refuse(lock: Any, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with scratch_folder(tmp_path / "x") as folder, scratch_folder(tmp_path / "x") as other:
        assert sorted(tmp_path.iterdir()) == sorted([folder, other])
    assert list(tmp_path.iterdir()) == []


def test_published_bytes_and_names_have_reached_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def noting(descriptor: int, fsync: Any = os.fsync) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    here = tmp_path.stat().st_ino
    for force in (False, True):
        made = tmp_path / "made"
        made.write_text("whole")
        publish(made, tmp_path / "x", force=force)
        assert synced == [(tmp_path / "x").stat().st_ino, here]
        synced.clear()
        made.unlink(missing_ok=True)
    folder = tmp_path / "made-folder"
    folder.mkdir()
    (folder / "mark").write_text("whole")
    publish_folder(folder, tmp_path / "y", "mark", force=False)
    inside = [path.stat().st_ino for path in (tmp_path / "y" / "mark", tmp_path / "y")]
    assert synced == [*inside, here]


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_is_replaced_by_a_file(dangling: bool, tmp_path: Path) -> None:
    """What it leads to stays as it is, and without ``force`` so does the link."""
    made, output, other = (tmp_path / name for name in ("made", "output", "other"))
    if not dangling:
        other.write_text("precious")
    output.symlink_to(other)
    made.write_text("whole")
    for refused in (check_destination, partial(publish, made)):
        with pytest.raises(OutputError, match="exists already; give --force"):
            refused(output, force=False)
    check_destination(output, force=True)
    publish(made, output, force=True)
    assert not output.is_symlink()
    assert output.read_text() == "whole"
    assert dangling or other.read_text() == "precious"


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_is_replaced_by_a_folder(dangling: bool, tmp_path: Path) -> None:
    scratch, output, other = (tmp_path / name for name in ("scratch", "output", "other"))
    made = scratch / "made"
    made.mkdir(parents=True)
    (made / "mark").write_text("whole")
    if not dangling:
        other.mkdir()
        (other / "diary").write_text("precious")
    output.symlink_to(other)
    with pytest.raises(OutputError, match="exists already; give --force"):
        publish_folder(made, output, "mark", force=False)
    publish_folder(made, output, "mark", force=True)
    assert not output.is_symlink()
    assert (output / "mark").read_text() == "whole"
    assert dangling or (other / "diary").read_text() == "precious"


def test_a_folder_that_cannot_be_written_is_told_early() -> None:
    """Root may write everywhere, so a child asks that is nobody."""
    with tempfile.TemporaryDirectory() as name:
        folder, status = Path(name), 2
        folder.chmod(0o555)
        child = os.fork()
        if child == 0:
            try:
                if os.geteuid() == 0:
                    os.setuid(NOBODY)
                check_destination(folder / "x", force=False)
            except OutputError as error:
                status = int(f"the folder {folder} is not writable" not in str(error))
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
