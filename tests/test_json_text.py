"""JSON within bounds: what is taken is what the standard library reads; what is not gives one error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.json_text import DEEPEST, JsonError, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(VALUES, st.booleans())
def test_what_is_json(value: object, escaped: bool) -> None:
    """Characters beyond the first plane are written as pairs of escapes, which are whole."""
    text = json.dumps(value, ensure_ascii=escaped)
    assert parse_json(text.encode(), unique_keys=True) == value


@given(st.binary())
def test_any_bytes_are_json_or_our_error(text: bytes) -> None:
    try:
        value = parse_json(text)
    except JsonError:
        return
    assert value == json.loads(text) or value != value  # NaN


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", "something else"),
        (b"\xff", "something else"),
        (b"\xef\xbb\xbf{}", "something else"),
        (b"9" * 5000, "something else"),
        (b"[" * 100_000, "levels of nesting"),
        (b"[" * (DEEPEST + 2) + b"]" * (DEEPEST + 2), "levels of nesting"),
        (b'{"a":' * (DEEPEST + 2) + b"1" + b"}" * (DEEPEST + 2), "levels of nesting"),
        (rb'"\ud800"', "half of a surrogate pair"),
        (rb'["\uD83D\uDE00", {"a": "\udc00"}]', "half of a surrogate pair"),
        (rb'{"\ud800": 1}', "half of a surrogate pair"),
    ],
)
def test_what_is_not_taken(text: bytes, found: str) -> None:
    with pytest.raises(JsonError, match=found):
        parse_json(text)


def test_a_key_twice() -> None:
    assert parse_json(b'{"a": 1, "a": 2}') == {"a": 2}
    with pytest.raises(JsonError, match="the key 'a' twice"):
        parse_json(b'[{"a": 1, "a": 2}]', unique_keys=True)


def test_the_last_of_many_keys_twice() -> None:
    """As many as a header of a few megabytes has; comparing each with each would take hours."""
    keys = ",".join(f'"{number}": 0' for number in [*range(200_000), 199_999])
    with pytest.raises(JsonError, match="the key '199999' twice"):
        parse_json(f"{{{keys}}}".encode(), unique_keys=True)


def test_the_deepest_that_is_taken() -> None:
    value = parse_json(b"[" * DEEPEST + b"]" * DEEPEST)
    for _ in range(DEEPEST - 1):
        (value,) = value
    assert value == []
