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


@pytest.fixture(autouse=True)
def sigint_raises() -> Iterator[None]:
    """As Python has it, also where the tests were told to ignore the signal (``nohup``)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def raising(function: Any, *, after: bool) -> Any:
    """The function, with a SIGINT in it."""

    def interrupted(*arguments: Any, **named: Any) -> Any:
        if not after:
            signal.raise_signal(signal.SIGINT)
        result = function(*arguments, **named)
        if after:
            signal.raise_signal(signal.SIGINT)
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


def test_an_interrupt_at_work_is_not_held_back(tmp_path: Path) -> None:
    done = []

    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        done.append("more")

    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path / "x"):
        work()
    assert done == []
    assert list(tmp_path.iterdir()) == []
