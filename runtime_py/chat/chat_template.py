"""The bundle's chat template: a conversation as the text that the engine makes of it."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.bundle.engine_template import EngineTemplate, Json
from exporter.errors import BundleError, TemplateError
from runtime_py.chat.conversation import PLAIN, Message, Setting
from runtime_py.chat.media import is_media
from runtime_py.chat.text_source import TextSource


class ChatTemplate:
    """A compiled template.

    Raises:
        BundleError: The bundle has none, or the engine could not parse it.
    """

    def __init__(self, bundle: TextSource) -> None:
        self._where = str(bundle.path)
        source = bundle.llm_metadata().jinja_prompt_template
        if not source:
            raise BundleError(f"{bundle.path}: expected a chat template, found none")
        try:
            self._template = EngineTemplate(source)
        except TemplateError as error:
            raise BundleError(f"{bundle.path}: the chat template is damaged ({error})") from error

    def render(
        self, messages: Sequence[Message], setting: Setting = PLAIN, *, answering: bool = True
    ) -> str:
        """The conversation as text, up to where the model's answer begins if ``answering``.

        The start token is not part of it: the engine puts it in front of the tokens.

        Raises:
            BundleError: The template refuses these messages.
        """
        try:
            return self._template.render(
                list(map(_seen, messages)),
                tools=setting.tools,
                thinking=setting.thinking,
                answering=answering,
            )
        except TemplateError as error:
            raise BundleError(
                f"{self._where}: the chat template refuses this conversation: {error}"
            ) from error


def _seen(message: Message) -> Json:
    """A message without what its pictures and sounds hold, which can be millions of characters."""
    content = message.to_json()["content"]
    if not isinstance(content, str):
        content = [{"type": part["type"]} if is_media(part) else part for part in content]
    return {**message.to_json(), "content": content}
