"""Which template a bundle gets, and which checkpoints' templates are refused."""

from __future__ import annotations

import pytest

from exporter.bundle.engine_template import EngineTemplate
from exporter.errors import TemplateError
from exporter.templates.agreement import Expected, differences
from exporter.templates.fitting import Origin, fit_template, given_template
from exporter.templates.gemma4 import NO_THOUGHT, Variant, variants
from exporter.templates.huggingface import HuggingFaceTemplate
from exporter.templates.rewriting import rewritten
from exporter.templates.samples import SAMPLES
from tests.bundles import TINY_TARGET
from tests.templates.known import (
    BACKWARDS,
    BREAKING,
    COUNTING,
    HERMES,
    SWAPPING,
    TEXT_ONLY,
    TIRELESS,
)

PRINTING = "{% for m in messages %}<|turn>{{ m.role }}\n{{ m.content | trim }}<turn|>\n{% endfor %}"
"""The simplest form: the engine would print the list of parts."""

TINY = (TINY_TARGET / "chat_template.jinja").read_text(encoding="utf-8")
ALL = len(SAMPLES)


def empty_thoughts(template: str) -> str:
    """Unsloth's third template as its module makes it: history has empty thoughts, too."""
    turn = "{{ '<|turn>' + role + '\n' }}\n    {%- endif -%}\n"
    assert turn in template
    empty = (
        "{%- if role == 'model' and not thinking and not continues -%}{{ '"
        + NO_THOUGHT
        + "' }}{%- endif -%}\n"
    )
    return template.replace(turn, turn + empty, 1)


def test_a_file_with_the_line_ends_of_windows() -> None:
    """jinja2 takes them for newlines; the engine would print them."""
    lines = "{% for m in messages %}\n<|turn>{{ m.role }}\n{{ m.content | trim }}<turn|>\n{% endfor %}\n"
    fitted = fit_template(lines.replace("\n", "\r\n"), "windows")
    assert fitted.source == fit_template(lines, "unix").source
    assert fitted.origin is Origin.REWRITTEN


def test_public_templates_become_ours(public_templates: dict[str, str]) -> None:
    expected = {
        "google": Variant(),
        "google, larger": Variant(no_thought_now=NO_THOUGHT),
        "unsloth": Variant(),
        "unsloth, thinking": Variant(no_thought_now=NO_THOUGHT),
    }
    for name, variant in expected.items():
        fitted = fit_template(public_templates[name], name)
        assert (fitted.origin, fitted.source) == (Origin.GEMMA4, variant.source()), name
        assert (fitted.conversations, fitted.thinking, fitted.tools) == (ALL, True, True), name


def test_empty_thoughts_of_earlier_turns_are_kept(public_templates: dict[str, str]) -> None:
    fitted = fit_template(empty_thoughts(public_templates["unsloth, thinking"]), "it")
    expected = Variant(no_thought_before=NO_THOUGHT, no_thought_now=NO_THOUGHT)
    assert fitted.source == expected.source()


def test_the_first_public_template_is_known(public_templates: dict[str, str]) -> None:
    """Google's of April differs in details, here written into the one of July."""
    source = public_templates["google"]
    for new, old in (
        ("'<|think|>\\n'", "'<|think|>'"),
        ("'<|image|>'", "'\\n\\n<|image|>\\n\\n'"),
        (
            "{{- '<|channel>thought\\n' -}}\n    {%- endif -%}\n{%- endif -%}",
            "{%- endif -%}{%- endif -%}",
        ),
    ):
        assert new in source
        source = source.replace(new, old)
    fitted = fit_template(source, "april")
    expected = Variant(think_line="<|think|>", around_pictures="\n\n", thought_after_result="")
    assert fitted.source == expected.source()


def test_the_first_declarations_have_their_commas() -> None:
    """As Google's template of April writes them: a comma before what is inside, whatever came before."""
    schema = {
        "type": "object",
        "properties": {
            "type": {"type": "string"},
            "list": {"type": "array", "items": {"type": "integer"}},
            "said": {"type": "string", "description": "d", "enum": ["a"], "nullable": True},
            "place": {
                "type": "object",
                "properties": {"zip": {"type": "string"}},
                "required": ["zip"],
            },
        },
    }
    tool = {"type": "function", "function": {"name": "f", "description": "", "parameters": schema}}
    template = EngineTemplate(Variant(first_declarations=True).source())
    text = template.render([{"role": "user", "content": "?"}], tools=[tool]).replace('<|"|>', "'")
    assert text.startswith(
        "<|turn>system\n<|tool>declaration:f{description:'',parameters:{properties:{"
        "list:{,items:{type:'INTEGER'}type:'ARRAY'},"
        "place:{,properties:{zip:{type:'STRING'}},required:['zip']type:'OBJECT'},"
        "said:{description:'d',nullable:true,enum:['a'],type:'STRING'}"
        "},type:'OBJECT'}}<tool|><turn|>\n"
    )


def test_every_variant_renders_alike_in_both_languages() -> None:
    """So a checkpoint that was given ours keeps it."""
    for variant in variants():
        expected = Expected.of(HuggingFaceTemplate(variant.source()))
        assert expected.count == ALL
        assert not list(differences(EngineTemplate(variant.source()), expected))


def test_a_template_that_works_stays_as_it_is() -> None:
    fitted = fit_template(TINY, "tiny")
    assert (fitted.origin, fitted.source) == (Origin.CHECKPOINT, TINY)
    assert (fitted.thinking, fitted.tools) == (False, False)


@pytest.mark.parametrize(("source", "tools"), [(TEXT_ONLY, False), (HERMES, True)])
def test_others_are_rewritten(source: str, tools: bool) -> None:
    fitted = fit_template(source, "it")
    assert (fitted.origin, fitted.tools) == (Origin.REWRITTEN, tools)
    assert "rewritten" in fitted.summary()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{{ m.get('x') }}", "{{ m['x'] }}"),
        ("{{ m.get('x', {}).get(\"y\") }}", "{{ (m['x'] | default({}))[\"y\"] }}"),
        ("{{ a['q'].get('z)', n) or b }}", "{{ (a['q']['z)'] | default(n)) or b }}"),
        ("{{ 'a.get(b)' }} a.get(c)", "{{ 'a.get(b)' }} a.get(c)"),
        ("{{ f.get() }}", "{{ f.get() }}"),
        ("{{ s.upper() }}", "{{ s | upper }}"),
        ("{% if x is not none and y is None %}", "{% if x != none and y == none %}"),
        ("a {%- generation -%} b {% endgeneration %}", "a {#- -#} b {# #}"),
    ],
)
def test_rewriting(before: str, after: str) -> None:
    assert rewritten(before).removesuffix(after) == rewritten("")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% if %}", "expected a chat template, but line 1"),
        (BREAKING, "line 3: the engine knows no statement 'break'"),
        (SWAPPING, "line 2: unknown method: string has no method named swapcase"),
        (COUNTING, "what was rendered of the history changes when the conversation goes on"),
        ("{{ 1 // 0 }}", "the chat template refuses every conversation"),
        (" \n", "expected a chat template, found an empty text"),
        ("{{ messages[0]['content'] }}{% for a in [].append(1) %}{% endfor %}", "refuses every"),
    ],
)
def test_what_cannot_be_rendered_alike_is_refused(source: str, said: str) -> None:
    with pytest.raises(TemplateError) as refused:
        fit_template(source, "chat_template.jinja")
    assert said in str(refused.value)
    assert str(refused.value).startswith("chat_template.jinja: ")


def test_a_newline_at_the_end_is_dropped() -> None:
    """As jinja2 drops it; the engine would give it to the model."""
    fitted = fit_template(
        "{% for m in messages %}{{ m['role'] }}\n{% endfor %}{{ 'a' if add_generation_prompt }}\n",
        "it",
    )
    assert fitted.origin is Origin.REWRITTEN
    assert EngineTemplate(fitted.source).render([{"role": "user", "content": "x"}]) == "user\na"


def test_a_template_without_the_users_words_is_warned_of() -> None:
    warning = "; warning: what the user says is not in the prompt"
    assert fit_template("hello", "it").summary().endswith(warning)
    assert "warning" not in fit_template(TINY, "it").summary()


@pytest.mark.parametrize("spelling", ["m.content | trim", "m.content.lstrip()"])
def test_the_simplest_form_is_rewritten(spelling: str) -> None:
    """Content is a list of parts to the engine, which prints it like that."""
    source = PRINTING.replace("m.content | trim", spelling)
    assert fit_template(source, "it").origin is Origin.REWRITTEN


@pytest.mark.parametrize("source", ["{{ strftime_now() }}", "{{ ' ' | lstrip(' ', ' ') }}"])
def test_too_few_and_too_many_arguments_are_errors_of_the_template(source: str) -> None:
    with pytest.raises(TemplateError):
        EngineTemplate(source).render([{"role": "user", "content": "x"}])


@pytest.mark.parametrize("form", ["%Q", "%", "at %H:%", "%-", "%E"])
def test_a_time_format_that_ends_the_engine_is_refused(form: str) -> None:
    with pytest.raises(TemplateError, match="strftime_now"):
        fit_template(f"{{% set now = strftime_now('{form}') %}}{TINY}", "it")


def test_the_way_out_is_named() -> None:
    with pytest.raises(TemplateError, match="--chat-template FILE"):
        fit_template(SWAPPING, "it")


def test_reversed_text_is_rendered_by_both() -> None:
    assert fit_template(BACKWARDS, "it").origin is Origin.REWRITTEN


def test_a_given_template_must_work_in_the_engine() -> None:
    given = given_template(TINY, "mine.jinja", checkpoints=Variant().source())
    assert (given.origin, given.source) == (Origin.GIVEN, TINY)
    assert 0 < given.conversations < ALL
    assert given_template(TINY, "mine.jinja", checkpoints=None).conversations == 0
    assert given_template(PRINTING, "mine.jinja", checkpoints=None).source != PRINTING
    for source, said in (
        (COUNTING, "changes when the conversation goes on"),
        ("{% if %}", "unexpected end of block"),
        (TIRELESS, "fuel"),
        ("hello", "what the user says is not in the prompt"),
        ("", "found an empty text"),
    ):
        with pytest.raises(TemplateError, match=said):
            given_template(source, "mine.jinja", checkpoints=TINY)
