"""The scratch folder goes away whenever an interrupt comes."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.bundles.interrupts import STOPS, Interrupts
from exporter.bundles.output import scratch_folder
from exporter.errors import OutputError


@pytest.fixture(autouse=True)
def sigint_raises() -> Iterator[None]:
    """As Python has it, also where the tests were told to ignore the signal (``nohup``)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def raising(function: Any, *, after: bool) -> Any:
    """The function, with a SIGINT in its first call."""
    left = [signal.SIGINT]

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


def test_an_interrupt_at_work_is_not_held_back(tmp_path: Path) -> None:
    done = []

    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        done.append("more")

    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path / "x"):
        work()
    assert done == []
    assert list(tmp_path.iterdir()) == []
