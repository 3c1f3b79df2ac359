"""The quick tier, ``pytest --quick``: every test that needs neither lowering nor an engine.

A test is slow if it is marked so or uses one of :data:`SLOW_FIXTURES`. All others are quick, and under
``--quick`` they are watched: one that starts a process which lowers, the engine or the command, that loads
the converter, or that computes for long, fails and has to be marked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

SLOW_FIXTURES = frozenset(
    {
        "bounds",
        "device",
        "engine",
        "folders",
        "plain_bundle",
        "poor_bundle",
        "planted_bundle",
        "public_templates",
        "random_pair",
        "short_bundle",
        "tiny_bundles",
    }
)
"""Bundles, ONNX folders, bound graphs, what the engine says, the GPU, and what is downloaded. Bundles of
shipped graphs are no exception: those are stale while someone works on the model."""

PROCESSES = (
    "exporter.cli.main",
    "exporter.lowering.worker",
    "exporter.onnx.trace_worker",
    "runtime_py.engine.stock_engine_worker",
)
"""Modules that a quick test runs no process of. The command is one: what its process starts is not seen."""

CONVERTER = "litert_torch"

MOST_SECONDS = 20.0
"""Of processor time, child processes included, for a test and for setting it up. Lowering a bundle's graphs
takes three times as long."""

refused: list[str] = []
"""What the test that runs was refused. The interpreter keeps an audit hook for good, so it has to be told
by something that outlives a test."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="only tests without lowering and engine")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is slow and begin with the files that have any of it; leave it out of a quick run.

    Where files are shared out to two processes, the quick ones at the end keep both busy to the last.
    """
    for item in items:
        if not SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow_files)
    if config.option.quick:
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
        sys.addaudithook(watch)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    refused.clear()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a quick test that was refused something, even if it passed all the same, or took long."""
    began = _seconds()
    yield
    if item.config.option.quick:
        assert not refused, f"mark this test slow: it {refused[0]}"
        assert _seconds() - began < MOST_SECONDS, "mark this test slow: it computes for too long"


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse what a quick test must not do, told by the interpreter's audit events."""
    if event == "subprocess.Popen":
        words = [str(word) for word in arguments[1]]
        for module in PROCESSES:
            if module in words:
                _refuse(f"starts a process of {module}")
    elif event == "import" and arguments[0] == CONVERTER:
        _refuse(f"loads {CONVERTER}")


def _refuse(what: str) -> None:
    refused.append(what)
    pytest.fail(f"mark this test slow: it {what}")


def _seconds() -> float:
    """Of this process and of the children it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
