"""Chat templates rendered as transformers renders them: by jinja2, on Python values.

Source: ``render_jinja_template`` in transformers 5.22 ``utils/chat_template_utils.py``; a test compares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from exporter.bundle.engine_template import Json
from exporter.errors import TemplateError

GENERATION = re.compile(r"{%([-+]?)\s*(?:end)?generation\s*([-+]?)%}")
"""Marks what the assistant says, for training; renders as nothing."""


class HuggingFaceTemplate:
    """A template as transformers would run it.

    Raises:
        TemplateError: It cannot be parsed; the message names the line.
    """

    def __init__(self, source: str) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        try:
            self._template = environment.from_string(without_generation(source))
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(f"line {error.lineno}: {error.message}") from error
        except (
            ArithmeticError,
            MemoryError,
            RecursionError,
            SyntaxError,
            ValueError,
        ) as error:  # of the Python it is compiled to
            raise TemplateError(str(error) or type(error).__name__) from error

    def render(
        self,
        messages: Sequence[Json],
        *,
        tools: Sequence[Json] = (),
        thinking: bool | None = None,
        bos_token: str = "",
    ) -> str:
        """A conversation as text, up to where the model's answer begins.

        Raises:
            TemplateError: The template refuses this conversation.
        """
        switches = {} if thinking is None else {"enable_thinking": thinking}
        try:
            return self._template.render(
                messages=list(messages),
                tools=list(tools) or None,
                documents=None,
                add_generation_prompt=True,
                bos_token=bos_token,
                **switches,
            )
        except Exception as error:  # whatever Python raises within a template written by somebody
            raise TemplateError(str(error) or type(error).__name__) from error


def without_generation(source: str) -> str:
    """The source with comments in place of generation marks: these trim whitespace as the marks did."""
    return GENERATION.sub(r"{#\1 \2#}", source)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise(message: str) -> NoReturn:
    """``raise_exception`` of Hugging Face templates."""
    raise jinja2.TemplateError(message)
