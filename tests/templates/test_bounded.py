"""Templates that would take all time or memory are refused; the process that asks lives on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from exporter.bounded_call import OutOfBoundsError, bounded_call
from exporter.errors import TemplateError
from exporter.templates.bounded import MEMORY, within_bounds
from exporter.templates.fitting import fit_template, given_template
from tests.bundles import ROOT


def test_what_the_function_says() -> None:
    source = (ROOT / "checkpoints/tiny/target/chat_template.jinja").read_text()
    assert within_bounds(fit_template, source, "here") == fit_template(source, "here")
    with pytest.raises(TemplateError, match="there: expected a chat template, but line 1"):
        within_bounds(fit_template, "{% if %}", "there")


def test_memory_of_transformers_renderer() -> None:
    """jinja2 says that memory ran out, as it says that the template divides by zero."""
    with pytest.raises(TemplateError, match="refuses every conversation"):
        within_bounds(fit_template, "{{ 'a' * 3000000000 }}", "here")


def test_memory_of_the_engines_renderer() -> None:
    """It ends the process."""
    with pytest.raises(TemplateError, match=r"chat template ended its process .* 2048 MiB"):
        within_bounds(given_template, "{{ 'a' * 3000000000 }}", "here", None)


def test_a_lower_bound_that_is_there_already_stays() -> None:
    """A process that was given one (``ulimit -v``, some clusters do) may not raise it."""
    lower = MEMORY // 2
    source = (
        "import resource\nfrom exporter.bounded_call import bounded_call\n"
        f"print(bounded_call(30, {MEMORY}, resource.getrlimit, resource.RLIMIT_AS))"
    )
    command = ["sh", "-c", f'ulimit -v {lower >> 10}; exec "$0" -c "$1"', sys.executable, source]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"({lower}, {lower})\n"


def test_time() -> None:
    forever = "{% for a in range(9999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(OutOfBoundsError, match="took more than 2 seconds"):
        bounded_call(2, MEMORY, fit_template, forever, "here")
