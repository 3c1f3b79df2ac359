"""Contents of files with something wrong in them, each from a random source that can be set again.

Bytes are flipped, cut, repeated and spliced. What is JSON is also changed value by value, so that what is
behind the parser is reached; where a format has lengths or checksums of its own, they are made right again.
"""

from __future__ import annotations

import json
import struct
import zlib
from random import Random
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 255, 2**16, 2**31 - 1, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**9,
    10**400, 0.5, -0.0, 1e-320, 1e30, 1e308, float("nan"), float("inf"), float("-inf"),
    "", "a", "0", "null", "\0", "\ud800", "\u2028", "é" * 300, "x" * 70_000, "../x", "/etc/passwd", "%s{}",
    "(a+)+$", ".*", "(?i)a", "default", [], {}, [[]], [None], [0], [1, 2], ["a", "b"], [0] * 3000, {"": None},
    {"(.|..)+!": {}}, {"a": {"a": 1}}, [[[[[[[[[[]]]]]]]]]],
)  # fmt: skip
"""What stands in the place of a value."""

INTERESTING = tuple(
    struct.pack(form, value)
    for form in ("<B", "<H", "<I", "<Q", ">H", ">I")
    for value in (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
    if value < 2 ** (8 * struct.calcsize(form))
)
"""Numbers at the ends of what fits."""

LARGEST = 1 << 20
"""Bytes that a mutation may make of a content, or as many as it had."""


def mutated(name: str, content: bytes, source: Random) -> bytes:
    """A content with something changed, by the end of the name of the file or section it is of."""
    if name.endswith(".json") and source.random() < 0.75:
        return _changed_json(content, source)
    if name.endswith(".safetensors") and source.random() < 0.8:
        return _changed_safetensors(content, source)
    if name.endswith(".png") and source.random() < 0.8:
        return _changed_png(content, source)
    if name.endswith((".jinja", ".jsonl", ".txt", ".json")) and source.random() < 0.7:
        return _changed_text(content, source)
    return _changed_bytes(content, source)


def _changed_bytes(content: bytes, source: Random) -> bytes:
    found = bytearray(content)
    for _ in range(source.choice((1, 1, 1, 2, 3, 8))):
        at = source.randrange(len(found) + 1)
        length = source.choice((1, 1, 2, 4, 8, 16, 64, source.randrange(1, len(found) + 2)))
        match source.randrange(8):
            case 0:
                found[at : at + 1] = bytes([source.randrange(256)])
            case 1 if at < len(found):
                found[at] ^= 1 << source.randrange(8)
            case 2 | 3:
                number = source.choice(INTERESTING)
                found[at : at + len(number)] = number
            case 4:
                del found[at : at + length]
            case 5:
                found[at:at] = found[at : at + min(length, 4096)]
            case 6:
                other = source.randrange(len(found) + 1)
                found[at : at + length] = found[other : other + length]
            case _:
                found[at:at] = source.randbytes(min(length, 64))
    if source.random() < 0.05:
        del found[source.randrange(len(found) + 1) :]
    return bytes(found[: max(LARGEST, len(content))])


TEMPLATE_TEXTS = (
    "{{", "}}", "{%", "%}", "{#", "-%}", "{% if ", "{% endif %}", "{% for m in messages %}", "{% endfor %}",
    "{% macro f(x) %}", "{% endmacro %}", "{{ f(f) }}", "{{ 1/0 }}", "{{ messages[99] }}",
    "{{ 'a' * 99999 }}", "{% for a in range(99999) %}", "{% include 'x' %}", "{% set x = namespace(a=1) %}",
    "{{ ''.__class__.__mro__ }}", "{{ messages | tojson }}", "{{ x.y.z }}", "{% block b %}", "{% raw %}",
    "{{ (" * 200, "{{ [" * 400, "{{ messages[0]['content'][::-1] }}", "| map(attribute='content') | list",
    "{{ cycler('a') }}", "{{ 9**9**9 }}", "{{ strftime_now('%Y' * 999) }}", "{{ raise_exception(1) }}",
    "{% break %}", "{% extends messages %}", "{% 'a' 'a' " * 16, ".replace(," * 300,
)  # fmt: skip
TEXTS = (
    *TEMPLATE_TEXTS, "\0", "\ufeff", "\u2028", "\r", "\n", "\t", '"', "'", "\\", "[", "]", "{", "}", ",", ":",
    "NaN", "1e999", "-", "9" * 5000, "[" * 300, '{"a":' * 200, '"\\ud800"', "/*", "true", "\udcff",
    "<|image|>", "<|turn>",
)  # fmt: skip
"""What is put into a text."""


def _changed_text(content: bytes, source: Random) -> bytes:
    text = content.decode(errors="surrogateescape")
    for _ in range(source.choice((1, 1, 2, 4))):
        at = source.randrange(len(text) + 1)
        length = source.choice((0, 0, 1, 2, 5, 20, source.randrange(len(text) + 1)))
        put = source.choice(
            (source.choice(TEXTS), source.choice(TEXTS), text[at : at + length] * 2, "")
        )
        text = text[:at] + put + text[at + length :]
    return text[:LARGEST].encode(errors="surrogatepass" if source.random() < 0.1 else "replace")


def _changed_json(content: bytes, source: Random) -> bytes:
    try:
        value = json.loads(content)
    except ValueError:
        return _changed_bytes(content, source)
    for _ in range(source.choice((1, 1, 1, 2, 3))):
        value = changed_value(value, source)
    text = json.dumps(value)
    if source.random() < 0.02:  # a number that Python does not read
        text = text.replace("0", "9" * 5000, 1)
    return text.encode()


def changed_value(value: Any, source: Random) -> Any:
    """A JSON value with one value, key or entry in it changed."""
    if not isinstance(value, dict | list) or not value or source.random() < 0.02:
        return _another(value, source)
    keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    key, choice = source.choice(keys), source.random()
    if choice < 0.06:
        del value[key]
    elif choice < 0.1 and isinstance(value, dict):
        value[source.choice((f"{key}x", "", "..", "(a+)+$", "\0", "é" * 40))] = value.pop(key)
    elif choice < 0.14 and isinstance(value, list):
        value.insert(key, source.choice((value[key], source.choice(ODD_VALUES))))
    elif choice < 0.18:
        value[key] = value[source.choice(keys)]
    else:
        value[key] = changed_value(value[key], source)
    return value


def _another(value: Any, source: Random) -> Any:
    if type(value) is int and abs(value) < 10**300 and source.random() < 0.4:
        more = (value + 1, value - 1, -value, value * 2, value * 10**6, value / 2 % 1e9, str(value))
        return source.choice(more)
    if isinstance(value, str) and source.random() < 0.4:
        at = source.randrange(len(value) + 1)
        return value[:at] + source.choice(TEXTS) + value[at:]
    if isinstance(value, float) and source.random() < 0.4:
        return source.choice(
            (-value, value * 1e30, value / 1e30, int(value) if abs(value) < 1e15 else 0)
        )
    return json.loads(json.dumps(source.choice(ODD_VALUES)))


def _changed_safetensors(content: bytes, source: Random) -> bytes:
    """A header that is JSON still, with its length before it, and sometimes another length of the file."""
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length]
    change = _changed_json if source.random() < 0.8 else _changed_text
    header, data = change(header, source), content[8 + length :]
    if source.random() < 0.2:
        data = data[: source.randrange(len(data) + 1)] if source.random() < 0.5 else data + data
    return len(header).to_bytes(8, "little") + header + data


def _changed_png(content: bytes, source: Random) -> bytes:
    """Chunks changed, left out or doubled; their checksums are right."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    place = source.randrange(len(chunks))
    kind, data = chunks[place]
    match source.randrange(5):
        case 0:
            del chunks[place]
        case 1:
            chunks.insert(source.randrange(len(chunks) + 1), (kind, data))
        case 2:
            other = source.choice(
                (b"zTXt", b"iCCP", b"tRNS", b"PLTE", b"IDAT", b"acTL", b"fdAT", b"eXIf")
            )
            chunks.insert(source.randrange(len(chunks) + 1), (other, _changed_bytes(data, source)))
        case 3 if kind == b"IDAT":  # other pixels, well packed
            plain = zlib.decompress(data)
            chunks[place] = (kind, zlib.compress(_changed_bytes(plain, source), 1))
        case _:
            chunks[place] = (kind, _changed_bytes(data, source))
    return content[:8] + b"".join(map(_chunk, chunks))


def _chunk(chunk: tuple[bytes, bytes]) -> bytes:
    kind, data = chunk
    return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)
