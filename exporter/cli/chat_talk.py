"""A chat, line by line: questions are answered, lines that begin with a slash are commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from exporter.bundle.engine_template import Json
from exporter.cli.chat_partners import Partner
from exporter.cli.chat_screen import Screen
from exporter.cli.generate_output import measurements
from exporter.cli.terminal import note
from exporter.errors import MtpExportError
from runtime_py.chat.conversation import Message
from runtime_py.chat.media import Medium, file_part, with_media
from runtime_py.loop.returning import Returning
from runtime_py.reply import Reply, RunResult

COMMANDS = {
    "/image FILE": "the next question is about this picture",
    "/audio FILE": "the next question is about this sound",
    "/reset": "forget what was said",
    "/help": "this list",
    "/quit": "leave; so does Ctrl-D",
}
HINT = "Ctrl-C cancels an answer. A line that ends in \\ goes on; one that begins with a space is no command."


class Talk:
    """Questions and answers.

    Args:
        partner: Who answers.
        screen: Where.
        media: What may be attached.
        cache_length: Slots, all of which a conversation may fill.
    """

    def __init__(
        self, partner: Partner, screen: Screen, media: Sequence[Medium], cache_length: int
    ) -> None:
        self._partner, self._screen, self._media = partner, screen, media
        self._cache_length = cache_length
        self._attached = list[Json]()

    def hold(self) -> None:
        """Until the end of input, or ``/quit``.

        Raises:
            MtpExportError: An answer failed, and nobody is there to be told, or who answers is gone; a person
                goes on otherwise.
        """
        for line in self._screen.lines():
            if line.split() == ["/quit"]:
                break
            try:
                self._take(line)
            except MtpExportError as error:
                if not (self._screen.interactive and self._partner.alive):
                    raise
                self._screen.tell(str(error), "red")
                if not line.startswith("/"):
                    note("if it stays so, /reset forgets what was said")
        if (rate := self._partner.end()) is not None:
            note(f"{rate:.0%} of drafts accepted in all")

    def _take(self, line: str) -> None:
        if line.startswith("/"):
            self._obey(*line.split(maxsplit=1))
            return
        message = Message("user", with_media(line.strip(), self._attached))
        self._attached = []
        reply = self._answer(message)
        if reply is None:
            note("cancelled")
            return
        note(self._told(reply))

    def _answer(self, message: Message) -> Reply | None:
        pieces = Returning(self._partner.stream(message))
        try:
            with self._screen.answering(self._partner.cancel):
                for piece in pieces:
                    self._screen.show(piece)
        finally:
            click.echo()
        return pieces.value

    def _told(self, reply: Reply) -> str:
        """What an answer took."""
        text = measurements(RunResult.counted([(reply,)]))
        text += f", {reply.context_tokens} of {self._cache_length} slots"
        if reply.context_tokens >= self._cache_length - 1:
            text += ": the context is full, /reset begins anew"
        if reply.thought and not reply.text:
            text += "; the answer was cut off in a thought"
        return text

    def _obey(self, word: str, rest: str = "") -> None:
        match word, rest.strip():
            case "/help", "":
                width = max(map(len, COMMANDS))
                lines = (f"{name:{width}}  {does}" for name, does in COMMANDS.items())
                self._screen.tell("\n".join([*lines, HINT]))
            case "/reset", "":
                self._partner.reset()
                self._attached = []
                note("what was said is forgotten")
            case (("/image" | "/audio"), file) if file:
                self._attach(Medium(word.removeprefix("/")), Path(file).expanduser())
            case _:
                raise MtpExportError(f"{word}: expected one of {', '.join(COMMANDS)}")

    def _attach(self, medium: Medium, file: Path) -> None:
        if medium not in self._media:
            raise MtpExportError(
                f"{medium.noun}s cannot be asked about with this bundle and runtime"
            )
        self._attached.append(file_part(medium, file))
        note(f"attached to the next question: {file.name}")
