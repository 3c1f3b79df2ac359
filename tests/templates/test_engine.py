"""Our rendering of templates against the stock engine's own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest

from exporter.bundle.engine_template import LONGEST, TIME_LETTERS, EngineTemplate
from exporter.errors import TemplateError
from exporter.templates.gemma4 import variants
from exporter.templates.probe import unpack_probe
from exporter.templates.samples import SAMPLES
from exporter.verify.sides.engine import as_conversation
from runtime_py.chat.conversation import Conversation, Message, Setting
from runtime_py.engine.stock_engine import EngineSettings, render_in_engine
from tests.templates.known import BREAKING, HERMES, TIRELESS

ASKED = {"role": "user", "content": "a b"}
CALL = {
    "type": "function",
    "function": {"name": "f", "arguments": {"z": 1, "n": None, "g": 1.5, "t": True, "l": [2, "x"]}},
}
DATA = "messages[1].tool_calls[0].function.arguments"
TALK: tuple[Mapping[str, Any], ...] = (
    ASKED,
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    ASKED,
)

SNIPPETS = (
    f"{{{{ {DATA} }}}}",
    f"{{{{ {DATA}|tojson }}}}",
    f"{{{{ {DATA}.n is none }}}} {{{{ nope is none }}}} {{{{ {DATA}.n == none }}}}",
    f"{{{{ {DATA}.n is not none }}}} {{{{ nope is not none }}}}",
    f"{{{{ {DATA}.get('z') }}}}",
    f"{{% for k, v in {DATA}.items() %}}{{{{ k }}}}={{{{ v }}}};{{% endfor %}}",
    f"{{{{ {DATA}|dictsort }}}}",
    "{{ messages[0].content }} {{ messages|length }} {{ messages[-1].role }}",
    "{{ ' a '.strip() }}|{{ ' a'.lstrip() }}|{{ 'a '.rstrip() }}|{{ 'xax'.strip('x') }}",
    "{{ messages[0].content.lstrip() }}",
    "{{ 55.5.rstrip(5) }}[{{ nope.lstrip() }}]{{ ' [a' | lstrip([' ']) }}{{ 'nona' | lstrip(none) }}",
    "{{ ' a' | lstrip(' ', 'a') }}",
    "{{ strftime_now(5) }}{{ strftime_now(true) }}",
    "{{ strftime_now() }}",
    "".join(f"{{% set now = strftime_now('%{letter}') %}}" for letter in TIME_LETTERS),
    "{{ strftime_now('%% %-d %_m %0Y')[:4] }}",
    "{{ raise_exception() }}",
    "{{ 'a.b'.split('.')[0] }} {{ 'a.b'.split('.')[-1] }} {{ 'a.b'.split('.') | list }}",
    "{{ 'abc'.startswith('a') }} {{ 'abc'.endswith('a') }} {{ 'abc'.replace('b', 'x') }}",
    "{{ ','.join(['a']) }}",
    "{{ 'a'.upper() }}",
    "{{ bos_token }}|{{ eos_token }}|{{ add_generation_prompt }}|{{ tools is defined }}",
    "{{ true }} {{ none }} {{ 1.0 }} {{ 1e20 }} {{ 7 / 2 }} {{ 7 // 2 }} {{ 2 ** 3 }}",
    "{{ 'a' ~ none ~ nope ~ 1.5 ~ true }} {{ nope == none }}",
    "{{ '<b>&' }} {{ '<é\"' | tojson }}",
    "{{ 'a' | tojson(indent=2) }}",
    "{{ nope.x }}",
    "{{ nope.x.y }}",
    "{{ 5 // 0 }}",
    "{{ 1 / 0 }}",
    "x\n",
    "  {% if true %}\n  x\n  {% endif %}\n",
    "\n{% if true %}x{% endif %}\n\n",
    "{% generation %}x{% endgeneration %}",
    "{%- generation -%}x{%- endgeneration -%}",
    "{{ raise_exception('no') }}",
    "{% for i in [1, 2] %}{% continue %}{% endfor %}",
    "{% macro f(a, b=2) %}{{ a ~ b }}{% endmacro %}{{ f(1) }}{{ f(1, b=3) }}",
    "{% set x %} a {% endset %}[{{ x | trim }}]",
    "{{ namespace(a=1) }} {{ dict(a=1) }} {{ range(3) | list }}",
    "{{ cycler }}{{ 'a' | wordwrap }}",
    "{{ 'éA' | lower | capitalize | title }} {{ 'abc'[1:] }} {{ ('a' 'b') }}",
    "{% if x is none %}is none{% endif %} is none",
    "{% include 'x' %}",
    "{{ [3, 1] | sort | join('-') }} {{ ['a'] | map('upper') | list }}",
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> EngineSettings:
    probe = unpack_probe(tmp_path_factory.mktemp("probe"))
    return EngineSettings(probe, mtp=False, max_new_tokens=1, threads=1)


def conversation(messages: Sequence[Mapping[str, Any]], setting: Setting) -> Conversation:
    """As an app would give it to the engine."""
    *history, last = [Message.from_json({"content": "", **message}) for message in messages]
    return Conversation((last,), tuple(history), setting)


def ours(source: str, messages: Sequence[Mapping[str, Any]] = TALK) -> str:
    """Our rendering; empty where a template is refused, as the engine's is."""
    try:
        return EngineTemplate(source).render(messages)
    except TemplateError:
        return ""


@pytest.fixture(scope="module")
def rendered(settings: EngineSettings) -> dict[str, str]:
    """What the engine makes of each snippet."""
    asking = [conversation(TALK, Setting())] * len(SNIPPETS)
    return dict(zip(SNIPPETS, render_in_engine(settings, asking, SNIPPETS), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("snippet", SNIPPETS)
def test_the_language_is_the_engines(rendered: dict[str, str], snippet: str) -> None:
    assert ours(snippet) == rendered[snippet]


@pytest.mark.slow
def test_the_keys_of_what_is_sent_are_sorted(settings: EngineSettings) -> None:
    """Those of the history are not."""
    result = {
        "type": "tool_response",
        "name": "f",
        "response": {"z": {"y": 1, "b": 2}, "a": [{"d": 1, "c": 2}]},
    }
    tool = {"role": "tool", "content": [result]}
    for messages in ((*TALK[:2], tool), (*TALK[:2], tool, ASKED)):
        source = "{{ messages | tojson }}"
        (text,) = render_in_engine(settings, [conversation(messages, Setting())], [source])
        assert text.replace(", ", ",") == ours(source, with_content(messages)).replace(", ", ",")


def with_content(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """As :class:`Message` spells them."""
    return [Message.from_json({"content": "", **message}).to_json() for message in messages]


@pytest.mark.slow
def test_conversations_render_as_in_the_engine(settings: EngineSettings) -> None:
    first, *_, last = variants()
    for source in (first.source(), last.source(), HERMES.replace(".get('content')", "['content']")):
        asking = [as_conversation(sample) for sample in SAMPLES]
        texts = render_in_engine(settings, asking, [source] * len(asking))
        for sample, text in zip(SAMPLES, texts, strict=True):
            try:
                expected = EngineTemplate(source).render(
                    sample.engine, tools=sample.tools, thinking=sample.thinking
                )
            except TemplateError:
                expected = ""
            assert text == expected, sample.name


@pytest.mark.parametrize(
    "rest",
    ["'a' " * 20, "{% " * 1000, "{{ " * 1000, "{# " * 1000, "\\'" * 1000, ".replace(," * 1000],
)
@pytest.mark.parametrize("begin", ["", "{% ", "{{ '"])
def test_what_is_not_closed_is_read_at_once(begin: str, rest: str) -> None:
    """Regular expressions of ours read a template before minijinja does, and must come to an end."""
    began = time.process_time()
    with suppress(TemplateError):
        EngineTemplate(begin + rest)
    assert time.process_time() - began < 2


def test_a_template_of_any_length_is_refused() -> None:
    with pytest.raises(TemplateError, match="at most 131072 characters, found 131073"):
        EngineTemplate("x" * (LONGEST + 1))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("a\n{% if %}", "line 2: syntax error: unexpected end of block"),
        ("a\n{{ messages[0].get('x') }}", "line 2: unknown method: map has no method named get"),
        (BREAKING, "line 3: the engine knows no statement 'break'"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        (TIRELESS, "ran out of fuel"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "recursion limit"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "recursion limit"),
        ("\ud800", "half of a character pair"),
    ],
)
def test_a_refusal_names_line_and_reason(source: str, said: str) -> None:
    with pytest.raises(TemplateError, match=r".*") as refused:
        EngineTemplate(source).render([ASKED])
    assert said in str(refused.value)
