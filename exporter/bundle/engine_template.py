"""Chat templates rendered as the LiteRT-LM engine (0.18.1) renders them.

The engine uses minijinja, a Rust library that is also on PyPI, in an environment of its own. (pyproject.toml
keeps it below 2.22: from there on PyPI's build prints values as Python does, and the engine's does not.)

- values are native: a map has no methods, and neither has a string. A few Python calls (``.split(...)``,
  ``.strip()``, ``.items()``, ...) are replaced by filters in the template's source before it is parsed;
- content is always a list of parts, even where the app gave a string;
- ``bos_token`` is empty, because the engine puts the start token in front of the tokens itself;
- ``x is none`` is true of what is undefined and false of a null;
- ``{% break %}`` and ``{% continue %}`` do not exist;
- the keys of the message that is sent are sorted, which shows where a template prints a whole map.

``tests/templates/test_engine.py`` compares all of this with the engine.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import minijinja

from exporter.errors import TemplateError

Json = Mapping[str, Any]
"""A JSON object."""

REWRITES = tuple(
    (re.compile(pattern, re.DOTALL), replacement)
    for pattern, replacement in (
        (r"\.startswith\((.*?)\)", r" is startingwith \1"),
        (r"\.endswith\((.*?)\)", r" is endingwith \1"),
        (r"\.replace\(([^,]*),([^)]*)\)", r" | replace(\1,\2)"),
        (r"\.split\((.*?)\)\[0\]", r" | split(\1) | first"),
        (r"\.split\((.*?)\)\[-1\]", r" | split(\1) | last"),
        (r"\.(split|join)\((.*?)\)", r" | \1(\2)"),
        (r"\.([lr]strip)\(\)", r" | \1"),
        (r"\.([lr]strip)\((.*?)\)", r" | \1(\2)"),
        (r"\.strip\(\)", r" | trim"),
        (r"\.strip\((.*?)\)", r" | trim(\1)"),
        (r"\.items\(\)", r" | items"),
        (r"{% (end)?generation %}", ""),
    )
)
"""What the engine replaces in a template's source, text included, before it parses it."""

NOT_IN_ENGINE = (
    "filesizeformat", "pluralize", "striptags", "truncate", "urlencode", "wordwrap",
)  # fmt: skip
"""Filters of PyPI's minijinja that the engine's build lacks."""

LOOP_CONTROL = re.compile(r"{%[-+]?\s*(break|continue)\b")
NONE_TEST = re.compile(r"\bis(\s+not)?\s+none\b")

_STRING = r"'(?:\\.|[^'\\])*(?:'|\\?\Z)|\"(?:\\.|[^\"\\])*(?:\"|\\?\Z)"
_CODE = rf"(?:{_STRING}|[^'\"])*?"
_BLOCK = re.compile(
    rf"\{{#.*?(?:#\}}|\Z)|\{{%{_CODE}(?:%\}}|\Z)|\{{\{{{_CODE}(?:\}}\}}|\Z)", re.DOTALL
)
_LITERAL = re.compile(f"({_STRING})", re.DOTALL)
"""Just enough of Jinja's syntax to change code without touching text, comments and string literals. What is
not closed goes on to the end, so that no piece of a template is read again and again."""

TIME_LETTERS = "aAbBcCdDeFgGhHIjklmMnpPqrRsStTuUvVwWxXyYzZ+f"
TIME_FORMAT = re.compile(rf"(?:[^%]|%%|%[-_0]?[{TIME_LETTERS}])*")
"""Formats of the time that the engine takes; it uses Rust's chrono, and ends the process at any other. Python
prints some letters (``%q``, ``%v``, ``%+``, ``%f``) as they are, and ``GMT`` for ``UTC``."""

LONGEST = 1 << 17
"""Characters of a template, several times those of the longest that are published."""

FUEL = 20_000_000
"""Instructions that rendering may take: a conversation of 1,000 messages takes less than a tenth."""

MAIN = "template"


class EngineTemplate:
    """A template as the engine would run it.

    Raises:
        TemplateError: The engine cannot parse it; the message names the line. Or it is too long.
    """

    def __init__(self, source: str) -> None:
        if len(source) > LONGEST:
            raise TemplateError(
                f"expected a chat template of at most {LONGEST} characters, found {len(source)}"
            )
        self.source = source
        self._environment = _environment()
        _refuse_loop_control(source)
        try:
            self._parsed = _as_parsed(source)
            self._environment.add_template(MAIN, self._parsed)
        except minijinja.TemplateError as error:
            raise _refused(error) from error
        except UnicodeEncodeError as error:
            raise TemplateError(
                f"expected text, found half of a character pair ({error})"
            ) from error

    def render(
        self,
        messages: Sequence[Json],
        *,
        tools: Sequence[Json] = (),
        thinking: bool | None = None,
        answering: bool = True,
    ) -> str:
        """A conversation as text, up to where the model's answer begins if ``answering``.

        Args:
            messages: As an app hands them to the engine.
            tools: Function declarations in OpenAI's form.
            thinking: What the app's thinking switch says; None if the app does not set it.
            answering: Whether an answer is to follow.

        Raises:
            TemplateError: The template refuses this conversation, or does not end.
        """
        given: dict[str, Any] = {
            "messages": list(map(_with_parts, _sent(messages) if answering else messages)),
            "add_generation_prompt": answering,
            "bos_token": "",
            "eos_token": "",
            "now": int(time.time()),
        }
        if tools:
            given["tools"] = list(tools)
        if thinking is not None:
            given["enable_thinking"] = thinking
        native = ", ".join(f"{name} = {_literal(value)}" for name, value in given.items())
        whole = f"{{% with {native} %}}\n{self._parsed}{{%+ endwith %}}"
        try:
            return str(self._environment.render_str(whole, MAIN))
        except minijinja.TemplateError as error:
            raise _refused(error, lines_before=1) from error
        # Of Python, about arguments of the filters and functions that are added below:
        except (TypeError, ValueError) as error:
            raise TemplateError(str(error)) from error


def _environment() -> minijinja.Environment:
    environment = minijinja.Environment(
        pycompat=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        debug=False,
        fuel=FUEL,
        auto_escape_callback=lambda name: False,
    )
    for name in NOT_IN_ENGINE:
        environment.remove_filter(name)
    for name in ("cycler", "joiner"):
        environment.remove_global(name)
    environment.add_filter("tojson", _to_json)
    environment.add_filter("lstrip", lambda value, ends=None: _text(value).lstrip(_ends(ends)))
    environment.add_filter("rstrip", lambda value, ends=None: _text(value).rstrip(_ends(ends)))
    environment.add_global("raise_exception", _raise)
    environment.add_global("strftime_now", _now)
    return environment


def _now(form: Any) -> str:
    """The time as ``form`` says.

    Raises:
        ValueError: The engine does not know the format; it would end the process.
    """
    if not TIME_FORMAT.fullmatch(text := _text(form)):
        raise ValueError(f"strftime_now: {text[:40]!r} is no format of the engine")
    return time.strftime(text, time.gmtime())


def _text(value: Any) -> str:
    """A value as the engine prints it. Python is given one None for nulls and for what is undefined."""
    if value is None or isinstance(value, str):
        return value or ""
    return str(minijinja.Environment().eval_expr(f"{_literal(value)} | string"))


def _ends(value: Any) -> str | None:
    """The characters to take off; white space without any."""
    return None if value is None else _text(value)


def _to_json(value: Any, **options: Any) -> str:
    """One line, with a space after commas and colons.

    Raises:
        minijinja.TemplateError: Options were given, which the engine's filter has not.
    """
    if options:
        _raise("too many arguments: the engine's tojson takes no options")
    return json.dumps(value, ensure_ascii=False)


def _raise(message: str) -> NoReturn:
    raise minijinja.TemplateError(str(message))


def _as_parsed(source: str) -> str:
    """The source that minijinja gets, with the engine's meaning of ``none``."""
    for pattern, replacement in REWRITES:
        source = pattern.sub(replacement, source)
    return change_code(source, lambda code: NONE_TEST.sub(r"is\1 undefined", code))


def _refuse_loop_control(source: str) -> None:
    for block in blocks(source):
        if found := LOOP_CONTROL.match(block[0]):
            line = source.count("\n", 0, block.start()) + 1
            raise TemplateError(f"line {line}: the engine knows no statement {found[1]!r}")


def _sent(messages: Sequence[Json]) -> list[Json]:
    """A history, and the message that is sent now."""
    return [*messages[:-1], *(sorted_keys(message) for message in messages[-1:])]


def sorted_keys(value: Any) -> Any:
    """A JSON value with the keys of its maps in order, as the engine has those of a message it is sent."""
    if isinstance(value, Mapping):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [sorted_keys(inner) for inner in value]
    return value


def _with_parts(message: Json) -> Json:
    """A message as the engine hands it to the template: its content is a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": [{"type": "text", "text": content}]}
    if isinstance(content, Mapping):
        return {**message, "content": [content]}
    return message


def _literal(value: Any) -> str:
    """A JSON value written in the template language.

    Values that are passed from Python keep their methods, which the engine's have not; literals are native.
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(k)}: {_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value)


def _refused(error: minijinja.TemplateError, lines_before: int = 0) -> TemplateError:
    """The library's error as a sentence that begins with the line in the template."""
    message = str(error.message).removesuffix(f" (in {error.name}:{error.line})")
    return TemplateError(f"line {error.line - lines_before}: {message}" if error.line else message)


def blocks(source: str) -> Iterator[re.Match[str]]:
    """Every block of code and every comment, where it stands."""
    return _BLOCK.finditer(source)


def change_blocks(source: str, change: Callable[[str], str]) -> str:
    """The source with ``change`` applied to every whole block of code, string literals included."""
    return _BLOCK.sub(lambda block: block[0] if block[0][1] == "#" else change(block[0]), source)


def change_code(source: str, change: Callable[[str], str]) -> str:
    """The source with ``change`` applied to every stretch of code outside string literals.

    Of ``Hi {{ name ~ '!' }}`` these are ``{{ name ~ `` and `` }}``.
    """

    def change_outside_strings(block: str) -> str:
        pieces = _LITERAL.split(block)  # code and literals in turn
        pieces[::2] = map(change, pieces[::2])
        return "".join(pieces)

    return change_blocks(source, change_outside_strings)


def without_strings(code: str) -> str:
    """The code with every string literal replaced by as many question marks."""
    return _LITERAL.sub(lambda literal: "?" * len(literal[0]), code)
