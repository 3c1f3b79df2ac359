"""Where a chat template may be, and markers in it that the tokenizer does not know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.checkpoints.assets.markers import unknown_markers
from exporter.checkpoints.assets.template_places import find_template
from exporter.errors import CheckpointError
from tests.checkpoints.beside_weights import GEMMA_TOKENS, Beside

TEMPLATE = "{{ bos_token }}{% for m in messages %}<|turn>{{ m.role }}{% endfor %}"
OTHER = "{{ messages | length }}"
NAMED = [{"name": "tool_use", "template": OTHER}, {"name": "default", "template": TEMPLATE}]


@pytest.fixture
def bare(tmp_path: Path) -> Beside:
    """Without a template."""
    beside = Beside.copied_to(tmp_path / "target")
    beside.remove("chat_template.jinja")
    return beside


def jinja(bare: Beside) -> None:
    bare.write("chat_template.jinja", TEMPLATE)


def jinja_before_others(bare: Beside) -> None:
    jinja(bare)
    bare.edit("tokenizer_config.json", chat_template=OTHER)


def with_additional(bare: Beside) -> None:
    jinja(bare)
    bare.write("additional_chat_templates/tool_use.jinja", OTHER)


def tokenizer_config(bare: Beside) -> None:
    bare.edit("tokenizer_config.json", chat_template=TEMPLATE)


def named(bare: Beside) -> None:
    bare.edit("tokenizer_config.json", chat_template=NAMED)


def one_named(bare: Beside) -> None:
    bare.edit("tokenizer_config.json", chat_template=[{"name": "rag", "template": TEMPLATE}])


def legacy_processor(bare: Beside) -> None:
    bare.write("chat_template.json", {"chat_template": TEMPLATE})


def processor_config(bare: Beside) -> None:
    bare.write("processor_config.json", {"processor_class": "X", "chat_template": TEMPLATE})


def map_of_processor(bare: Beside) -> None:
    templates = {entry["name"]: entry["template"] for entry in NAMED}
    bare.write("chat_template.json", {"chat_template": templates})


def additional_alone(bare: Beside) -> None:
    bare.write("additional_chat_templates/chat.jinja", TEMPLATE)


def empty_file(bare: Beside) -> None:
    bare.write("chat_template.jinja", " \n")
    tokenizer_config(bare)


@pytest.mark.parametrize(
    ("put", "told"),
    [
        (jinja, None),
        (jinja_before_others, None),
        (with_additional, "chat_template.jinja; not used: tool_use"),
        (tokenizer_config, "the one in tokenizer_config.json"),
        (named, "tokenizer_config.json ('default' of 2); not used: tool_use"),
        (one_named, "tokenizer_config.json ('rag', the only one)"),
        (legacy_processor, "the one in chat_template.json"),
        (processor_config, "the one in processor_config.json"),
        (map_of_processor, "chat_template.json ('default' of 2); not used: tool_use"),
        (additional_alone, "additional_chat_templates ('chat', the only one)"),
        (empty_file, "the one in tokenizer_config.json"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_places(bare: Beside, put: Callable[[Beside], None], told: str | None) -> None:
    put(bare)
    found = find_template(bare.checkpoint())
    assert found.source == TEMPLATE
    notes = found.notes()
    assert notes == () if told is None else told in notes[0]
    assert set(notes) <= set(bare.assets().notes)


def test_what_was_read_is_hashed(bare: Beside) -> None:
    for put in (legacy_processor, processor_config, with_additional):
        put(bare)
    read = {path.name for path in bare.checkpoint().source_files()}
    assert read >= {"chat_template.json", "processor_config.json", "chat_template.jinja"}
    assert "tool_use.jinja" in read


def test_none(bare: Beside) -> None:
    with pytest.raises(CheckpointError) as refused:
        bare.assets()
    for place in (
        "chat_template.jinja",
        "tokenizer_config.json",
        "chat_template.json",
        "processor_",
    ):
        assert place in str(refused.value)


def test_several_and_no_default(bare: Beside) -> None:
    names = [{"name": name, "template": OTHER} for name in ("rag", "tool_use")]
    bare.edit("tokenizer_config.json", chat_template=names)
    with pytest.raises(CheckpointError, match="template named 'default', found rag, tool_use"):
        bare.assets()


GEMMA_4 = """{# <start_of_turn> is Gemma 3's #}{{ bos_token }}{{ '<|turn>system\n' }}<tools></tools>
{{- '<|tool_call>call:' + name + '{' + '<|"|>' + '<tool_call|>' }}{{ '<|channel>thought\n' }}<turn|>"""
GEMMA_3 = "{{ '<bos>' }}<start_of_turn>user\n{{ text }}<end_of_turn>\n"
CHATML = "{{ '<|im_start|>' + role }}{{ text }}<|im_end|>{% if a < b | length > 2 %}{% endif %}"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (GEMMA_4, []),
        (GEMMA_3, ["<start_of_turn>", "<end_of_turn>"]),
        (CHATML, ["<|im_start|>", "<|im_end|>"]),
        ("[INST] {{ text }} [/INST]</s>", ["[INST]", "[/INST]", "</s>"]),
    ],
)
def test_markers(template: str, expected: list[str]) -> None:
    tokens = {*GEMMA_TOKENS.values(), "<bos>", "<eos>"}
    assert unknown_markers(template, tokens) == expected


def test_a_template_of_another_model_is_told(bare: Beside) -> None:
    bare.write("chat_template.jinja", GEMMA_3)
    (note,) = bare.notes()
    assert "<start_of_turn>, <end_of_turn>" in note
    assert note.startswith("warning: ")
