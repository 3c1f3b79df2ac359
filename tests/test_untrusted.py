"""Every reader of what strangers may have written: it reads, or refuses with an error of ours.

The readers are those of ``scripts/fuzz.py``, which goes on for hours. Here are what it found, and inputs that
are chosen by properties: any bytes, any JSON, and sound JSON with any value in the place of another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzzing.corpus import kept
from fuzzing.places import scratch_folder
from fuzzing.target import Case, Target, check_sound, outcome
from fuzzing.targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = [name for name in TARGETS if name != "hub"]
"""All but the hub, which needs a process of its own: ``tests/checkpoints/test_hub.py`` is about it."""

FEW = settings(
    derandomize=True,  # the gate decides about a change, not about luck
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, 2**63, 10**400, -1])
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["../x", "(a+)+$", "{{", "\0"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
PIECES = (
    "{{ ",
    " }}",
    "{% if ",
    " %}",
    "{% endif %}",
    "{# ",
    " #}",
    "messages",
    "[0]",
    ".a",
    "'",
    "1/0",
    "|tojson",
)


@pytest.fixture(scope="module")
def target_of() -> Iterator[Callable[[str], Target]]:
    """Targets by name, made when they are first asked for."""
    made: dict[str, Target] = {}
    folders: list[Path] = []

    def target(name: str) -> Target:
        if name not in made:
            folders.append(scratch_folder())
            made[name] = TARGETS[name](folders[-1])
        return made[name]

    yield target
    for folder in folders:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


@pytest.mark.parametrize("name", HERE)
def test_what_is_sound_is_read(name: str, target_of: Callable[[str], Target]) -> None:
    """Otherwise inputs that are made from it would show nothing."""
    check_sound(target_of(name))


@pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(name, case, id=f"{name}-{case.part}") for name in HERE for case in kept(name)],
)
def test_what_once_did_harm(name: str, case: Case, target_of: Callable[[str], Target]) -> None:
    outcome(target_of(name), case)


@pytest.mark.parametrize("name", HERE)
@FEW
@given(data=st.data())
def test_any_content_is_read_or_refused(
    name: str, data: st.DataObject, target_of: Callable[[str], Target]
) -> None:
    """Inputs are chosen with what the part's sound content is, so that parsers get past the first brace."""
    target = target_of(name)
    part = data.draw(st.sampled_from(sorted(target.parts)))
    outcome(target, Case(part, data.draw(contents(part, target.parts[part]))))


def contents(part: str, sound: bytes) -> st.SearchStrategy[bytes]:
    """Contents for a part."""
    anything = st.binary(max_size=64) | st.binary(max_size=16).map(lambda end: sound[:-9] + end)
    if part.endswith(".json"):
        return anything | changed_json(json.loads(sound)) | VALUES.map(_json)
    if part.endswith(".safetensors"):
        length = int.from_bytes(sound[:8], "little")
        headers = changed_json(json.loads(sound[8 : 8 + length]))
        return anything | headers.map(lambda header: _with_length(header, sound[8 + length :]))
    if part.endswith((".jinja", ".txt", ".jsonl")):
        pieces = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12)
        return anything | pieces.map(lambda found: "".join(found).encode(errors="replace"))
    return anything


@st.composite
def changed_json(draw: st.DrawFn, sound: Any) -> bytes:
    """A JSON value with any other one somewhere in it."""
    whole = holder = {"": json.loads(json.dumps(sound))}
    key: Any = ""
    while isinstance(holder[key], dict | list) and holder[key] and draw(st.integers(0, 4)):
        holder = holder[key]
        keys = sorted(holder) if isinstance(holder, dict) else range(len(holder))
        key = draw(st.sampled_from(keys))
    if draw(st.integers(0, 5)):
        holder[key] = draw(VALUES)
    elif key != "":
        del holder[key]
    return _json(whole[""])


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _with_length(header: bytes, data: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + data
