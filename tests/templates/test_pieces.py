"""Cutting a template's source into text, comments, code and strings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exporter.bundle.template_pieces import Kind, change_blocks, change_code, pieces

FRAGMENTS = st.lists(
    st.sampled_from(
        ["a ", "{{ x }}", "{% if y %}", "{# z #}", "'", '"', "{{ '}}' }}", "{", "}", "\n", "%}"]
    )
)


@given(FRAGMENTS)
def test_the_pieces_are_the_source(fragments: list[str]) -> None:
    source = "".join(fragments)
    assert "".join(piece.text for piece in pieces(source)) == source


def test_kinds() -> None:
    found = [(piece.kind, piece.text) for piece in pieces("Hi {# no #}{{ a ~ '}}' }}!")]
    assert found == [
        (Kind.TEXT, "Hi "),
        (Kind.COMMENT, "{# no #}"),
        (Kind.CODE, "{{ a ~ "),
        (Kind.STRING, "'}}'"),
        (Kind.CODE, " }}"),
        (Kind.TEXT, "!"),
    ]


def test_only_code_is_changed() -> None:
    source = "is none {{ x is none ~ ' is none' }}{# is none #}"
    changed = change_code(source, lambda code: code.replace("is none", "!"))
    assert changed == "is none {{ x ! ~ ' is none' }}{# is none #}"
    assert change_blocks(source, lambda block: "B") == "is none B{# is none #}"
