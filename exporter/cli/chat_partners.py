"""Who answers in a chat: the stock engine, or a reference runtime, which says where each token is from."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from exporter.cli.running_options import Choices
from exporter.cli.runtimes import STOCK, draft_sources
from exporter.contract.names import Accelerator

if TYPE_CHECKING:
    from runtime_py.chat.conversation import Conversation, Message
    from runtime_py.chat.media import Medium
    from runtime_py.opened_model import Opened
    from runtime_py.reply import Piece, Reply

DECODERS = {"image": "PIL", "audio": "miniaudio"}
"""The packages that the reference runtime decodes files with."""


class Partner(Protocol):
    """A model that is talked with, and what has been said."""

    @property
    def alive(self) -> bool:
        """Whether it can answer still, after an error."""

    def stream(self, message: Message) -> Generator[Piece, None, Reply | None]:
        """Answer; None for an answer that was cancelled, of which little is known."""

    def cancel(self) -> None:
        """End the answer that is being given, soon."""

    def reset(self) -> None:
        """Begin anew."""

    def end(self) -> float | None:
        """Say goodbye; the share of all drafts that were accepted, where only the end tells."""


class ReferencePartner:
    """A session of a reference runtime.

    Args:
        model: What runs.
        begun: What the conversation begins with.
        choices: How to answer.
        mtp: Whether to draft.
    """

    def __init__(
        self, model: Opened[Any], begun: Conversation, choices: Choices, *, mtp: bool
    ) -> None:
        self._model, self._begun, self._choices = model, begun, choices
        length = choices.draft_length
        sources = draft_sources(choices.draft_from, length)
        self._policy = model.policy(
            ("auto" if length is None else length) if mtp else 0, 1, sources
        )
        self._cancelled = False
        self.reset()

    @property
    def alive(self) -> bool:
        """It is part of this process."""
        return True

    def reset(self) -> None:
        """Begin anew; what adaptive drafting has learnt stays."""
        self._session = self._model.session(
            history=self._begun.history,
            setting=self._begun.setting,
            policy=self._policy,
            sampling=self._choices.sampling,
            context_length=self._choices.max_num_tokens,
        )

    def stream(self, message: Message) -> Generator[Piece, None, Reply | None]:
        """Answer token by token."""
        from runtime_py.loop.returning import Returning

        self._cancelled = False
        answer = self._session.stream(message, self._choices.max_new_tokens)
        pieces = Returning(answer)
        for piece in pieces:
            yield piece
            if self._cancelled:
                answer.close()
                return None
        return pieces.value

    def cancel(self) -> None:
        """At the next token."""
        self._cancelled = True

    def end(self) -> float | None:
        """Each answer has told its own share."""
        return None


@contextmanager
def open_partner(
    bundle: Path, choices: Choices, begun: Conversation, *, mtp: bool
) -> Iterator[Partner]:
    """Load a bundle, or a folder for ONNX Runtime.

    Raises:
        MtpExportError: It cannot be run.
    """
    if choices.runtime == STOCK:
        from runtime_py.engine.engine_chat import open_engine_chat
        from runtime_py.engine.stock_engine import EngineSettings

        settings = EngineSettings(
            bundle,
            mtp,
            choices.max_new_tokens,
            Accelerator(choices.accelerator),
            choices.threads,
            choices.max_num_tokens,
            choices.weight_cache,
            choices.sampling,
        )
        with open_engine_chat(settings, begun) as chat:
            yield chat
        return
    with ExitStack() as opened:
        model = opened.enter_context(_model(bundle, choices, mtp=mtp))
        yield ReferencePartner(model, begun, choices, mtp=mtp)


@contextmanager
def _model(bundle: Path, choices: Choices, *, mtp: bool) -> Iterator[Opened[Any]]:
    from exporter.extras import require_onnx, require_runtime

    require_runtime()
    length = choices.max_num_tokens
    if choices.runtime == "onnx":
        require_onnx()
        from runtime_py.onnx.model import open_onnx_model

        with open_onnx_model(
            bundle, choices.threads, cache_length=length, drafting=mtp
        ) as onnx_model:
            yield onnx_model
        return
    from runtime_py.litert.hardware import Hardware
    from runtime_py.opened_model import open_model

    hardware = Hardware(Accelerator(choices.accelerator), choices.threads, choices.weight_cache)
    with open_model(
        bundle, hardware, cache_length=length, drafting=mtp, media=media_taken(bundle, choices)
    ) as model:
        yield model


def media_taken(bundle: Path, choices: Choices) -> list[Medium]:
    """What messages may have besides text: what the bundle takes and the runtime can decode here."""
    from exporter.bundle.reader import open_bundle
    from runtime_py.chat.media import Medium

    if choices.runtime == "onnx":
        return []
    header = open_bundle(bundle)
    taken = [medium for medium in Medium if header.model(medium.section) is not None]
    if choices.runtime == STOCK:
        return taken
    return [medium for medium in taken if find_spec(DECODERS[medium]) is not None]
