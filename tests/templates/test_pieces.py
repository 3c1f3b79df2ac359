"""Finding the code in a template's source, between text, comments and strings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exporter.bundle.engine_template import change_blocks, change_code

FRAGMENTS = st.lists(
    st.sampled_from(
        ["a ", "{{ x }}", "{% if y %}", "{# z #}", "'", '"', "{{ '}}' }}", "{", "}", "\n", "%}"]
    )
)


@given(FRAGMENTS)
def test_nothing_is_lost(fragments: list[str]) -> None:
    source = "".join(fragments)
    assert change_code(source, lambda code: code) == source


def test_what_is_code() -> None:
    source = "Hi {# no #}{{ a ~ '}}' }}!"
    assert change_code(source, lambda code: f"[{code}]") == "Hi {# no #}[{{ a ~ ]'}}'[ }}]!"


def test_only_code_is_changed() -> None:
    source = "is none {{ x is none ~ ' is none' }}{# is none #}"
    changed = change_code(source, lambda code: code.replace("is none", "!"))
    assert changed == "is none {{ x ! ~ ' is none' }}{# is none #}"
    assert change_blocks(source, lambda block: "B") == "is none B{# is none #}"
