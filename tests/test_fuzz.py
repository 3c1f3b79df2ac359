"""The fuzzer itself: whatever an input does to a reader is found, and the inputs behind it are read, too."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzzing.corpus import keep, kept
from fuzzing.running import Result, fuzz
from fuzzing.target import Case, Target, UnsoundError, check_sound

from exporter.errors import BundleError

COUNT = 40


def refuse(case: Case) -> None:
    raise BundleError("no")


def refuse_unwritten(case: Case) -> None:
    raise BundleError("\ud800")


def lack(case: Case) -> None:
    raise KeyError(case.part)


def end(case: Case) -> None:
    os._exit(7)


def sleep(case: Case) -> None:
    time.sleep(60)


def eat(case: Case) -> None:
    bytearray(1 << 30)


def toy(harm: Callable[[Case], None], *, bounded: bool = False) -> Target:
    """Does harm at contents that are longer than the sound one by 8 bytes or more: a few of :data:`COUNT`."""

    def read(case: Case) -> None:
        if len(case.content) >= 24:
            harm(case)

    return Target("toy", {"a.bin": bytes(16)}, read, seconds=0.5, memory=1 << 26, bounded=bounded)


def run(target: Target) -> Result:
    *_, result = fuzz(target, 1, first=0, count=COUNT, seconds=60)
    return result


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lack, "KeyError at test_fuzz.py"),
        (refuse_unwritten, "UnwrittenError at target.py"),
        (end, "end with status 7 in toy"),
        (eat, "MemoryError at test_fuzz.py"),
    ],
)
def test_harm_is_found(harm: Callable[[Case], None], found: str) -> None:
    result = run(toy(harm))
    (finding,) = result.findings.values()
    assert finding.what.startswith(found)
    assert len(finding.case.content) >= 24
    assert result.outcomes["FOUND"] > 1


def test_a_hang_is_found_and_ended() -> None:
    """Of the few inputs up to the first that hangs; each takes as long as it may."""
    *_, first = fuzz(toy(lack), 1, first=0, count=COUNT, seconds=60)
    number = next(iter(first.findings.values())).number
    *_, result = fuzz(toy(sleep), 1, first=number, count=1, seconds=60)
    assert [*result.findings] == ["more than 0.5 s in toy a.bin"]


def test_errors_of_ours_are_no_findings() -> None:
    result = run(toy(refuse))
    assert not result.findings
    assert result.outcomes["BundleError"] > 1
    assert result.outcomes["read"] > 1
    assert result.inputs == COUNT


def test_what_has_bounds_elsewhere_may_reach_them() -> None:
    assert not run(toy(end, bounded=True)).findings
    assert not run(toy(eat, bounded=True)).findings


def test_an_input_of_a_number_is_always_the_same_one() -> None:
    first, again = ([toy(lack).case(7, n) for n in range(COUNT)] for _ in range(2))
    assert first == again
    assert first != [toy(lack).case(8, n) for n in range(COUNT)]


def test_a_sound_content_that_is_refused_is_said() -> None:
    with pytest.raises(UnsoundError, match=r"toy: a\.bin: BundleError"):
        check_sound(Target("toy", {"a.bin": b""}, refuse))


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    case = Case("a.json", b"[")
    keep("toy", case, tmp_path)
    assert keep("toy", Case("b.bin", bytes(200_000)), tmp_path) is None
    assert list(kept("toy", tmp_path)) == [case]
