"""The bundle's chat template: a conversation as the text the model was trained on.

Rendered by jinja2 in its sandbox, with the names that Hugging Face templates expect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from exporter.errors import BundleError
from runtime_py.chat import Message
from runtime_py.text_source import TextSource


class ChatTemplate:
    """A compiled template.

    Args:
        bundle: Whose metadata holds it.
        start_token: Text of the start token, the template's ``bos_token``.

    Raises:
        BundleError: There is none, or it is not jinja.
    """

    def __init__(self, bundle: TextSource, start_token: str) -> None:
        self._where = str(bundle.path)
        self._start_token = start_token
        source = bundle.llm_metadata().jinja_prompt_template
        if not source:
            raise BundleError(f"{bundle.path}: expected a chat template, found none")
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _raise
        try:
            self._template: Any = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise BundleError(f"{bundle.path}: the chat template is damaged ({error})") from error

    def render(self, messages: Sequence[Message], *, answering: bool) -> str:
        """The conversation as text, up to where the model's answer begins if ``answering``.

        Raises:
            BundleError: The template refuses these messages.
        """
        try:
            return str(
                self._template.render(
                    messages=[message.to_json() for message in messages],
                    bos_token=self._start_token,
                    add_generation_prompt=answering,
                )
            )
        except jinja2.TemplateError as error:
            raise BundleError(
                f"{self._where}: the chat template refuses this conversation: {error}"
            ) from error


def _raise(message: str) -> NoReturn:
    """``raise_exception`` of Hugging Face templates."""
    raise jinja2.TemplateError(message)
