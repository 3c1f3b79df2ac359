"""Our rendering of a checkpoint's template against transformers' own."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.errors import TemplateError
from exporter.templates.huggingface import HuggingFaceTemplate
from exporter.templates.samples import SAMPLES
from tests.templates.known import BREAKING, HERMES, TEXT_ONLY

SOURCES = (
    TEXT_ONLY,
    HERMES,
    BREAKING,
    "{{ tools }} {{ documents }} {{ bos_token }} {{ messages | tojson(indent=1) }}",
    "{% generation %}\nx\n{% endgeneration %}\n{%- generation +%} y {%+ endgeneration -%} z",
    "{{ messages[0].content.upper() }}{{ '<é' | tojson }}\n",
    "{{ raise_exception('no') }}",
)


def transformers_text(source: str, sample: Any, messages: Any) -> str:
    """What transformers renders; empty where it refuses."""
    from transformers.utils.chat_template_utils import render_jinja_template

    switches = {} if sample.thinking is None else {"enable_thinking": sample.thinking}
    try:
        rendered, _ = render_jinja_template(
            [[dict(message) for message in messages]],
            tools=list(sample.tools) or None,
            chat_template=source,
            add_generation_prompt=True,
            bos_token="<bos>",
            **switches,
        )
    except Exception:  # a template may raise anything
        return ""
    return str(rendered[0])


def our_text(source: str, sample: Any, messages: Any) -> str:
    try:
        return HuggingFaceTemplate(source).render(
            messages, tools=sample.tools, thinking=sample.thinking, bos_token="<bos>"
        )
    except TemplateError:
        return ""


@pytest.mark.parametrize("source", SOURCES)
def test_renders_as_transformers_does(source: str) -> None:
    for sample in SAMPLES:
        for messages in sample.transformers:
            expected = transformers_text(source, sample, messages)
            assert our_text(source, sample, messages) == expected, sample.name


def test_public_templates_render_as_in_transformers(public_templates: dict[str, str]) -> None:
    for name, source in public_templates.items():
        for sample in SAMPLES:
            for messages in sample.transformers:
                expected = transformers_text(source, sample, messages)
                assert our_text(source, sample, messages) == expected, (name, sample.name)


@pytest.mark.parametrize("source", ["{% if %}", "{{ x", "{% endfor %}"])
def test_a_damaged_template_is_refused_with_its_line(source: str) -> None:
    with pytest.raises(TemplateError, match="line 2"):
        HuggingFaceTemplate("a\n" + source)
