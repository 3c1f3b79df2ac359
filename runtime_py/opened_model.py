"""A bundle, opened: executor, tokenizer and chat template, ready for sessions."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence, Set
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from exporter.bundle.integrity import check_sections
from exporter.bundle.reader import Bundle, open_bundle
from exporter.bundle.stored_contract import require_drafter, stored_contract, with_cache_length
from exporter.contract.text import Contract
from exporter.errors import BundleError
from runtime_py.chat.chat_template import ChatTemplate
from runtime_py.chat.conversation import PLAIN, Message, Setting
from runtime_py.chat.media import Medium
from runtime_py.chat.reply_text import Markers
from runtime_py.chat.text_source import TextSource
from runtime_py.chat.tokenizer import Tokenizer
from runtime_py.graph_executor import GraphExecutor
from runtime_py.litert.executor import LitertExecutor
from runtime_py.litert.hardware import Hardware
from runtime_py.loop.adaptive import Adaptive
from runtime_py.loop.rounds import Source
from runtime_py.loop.sampling import GREEDY, SamplingSettings
from runtime_py.loop.speculative import Clock, DraftPolicy, Fixed
from runtime_py.media.media_encoder import MediaEncoder
from runtime_py.session import Session

FAMILY = "gemma4"
AUTO = "auto"

DraftLength = int | str
"""Drafts per round: a number (0 is off), or ``auto``."""

DRAFTER_ONLY = frozenset({Source.DRAFTER})


ExecutorT = TypeVar("ExecutorT", bound=GraphExecutor[Any])


@dataclass(frozen=True)
class Opened(Generic[ExecutorT]):
    """What sessions share: what adaptive drafting has learnt, too."""

    executor: ExecutorT
    tokenizer: Tokenizer
    template: ChatTemplate
    markers: Markers
    media: MediaEncoder | None = None
    """What encodes pictures and sounds; None where there are to be none."""
    learnt: dict[tuple[int, frozenset[Source]], Adaptive] = field(default_factory=dict)
    """By how many sequences run together, which decides what a call costs, and what may be drafted."""

    def session(
        self,
        *,
        history: Sequence[Message] = (),
        setting: Setting = PLAIN,
        policy: DraftPolicy | None = None,
        sampling: SamplingSettings = GREEDY,
        context_length: int | None = None,
        clock: Clock = time.perf_counter,
    ) -> Session[Any]:
        """A conversation; arguments as for :class:`~runtime_py.session.Session`."""
        return Session(
            self.executor,
            self.tokenizer,
            self.template,
            self.markers,
            history=history,
            setting=setting,
            policy=policy,
            sampling=sampling,
            context_length=context_length,
            media=self.media,
            clock=clock,
        )

    def policy(
        self, drafts: DraftLength, together: int = 1, sources: Set[Source] = DRAFTER_ONLY
    ) -> DraftPolicy:
        """The policy for a draft length; at most as many as the bundle's ``verify`` takes.

        ``auto`` is one policy for all sessions: the times of calls need not be measured again. It chooses
        between ``sources``; a number of drafts is for the drafter, unless there is none among them.
        """
        longest = self.executor.draft_length
        if drafts == AUTO:
            known = (together, frozenset(sources))
            return self.learnt.setdefault(known, Adaptive(longest, sources))
        first = Source.DRAFTER if Source.DRAFTER in sources else Source.LOOKUP
        return Fixed(min(int(drafts), longest), first)


OpenedModel = Opened[LitertExecutor]
"""A bundle."""


@contextmanager
def open_model(
    path: Path,
    hardware: Hardware | None = None,
    *,
    cache_length: int | None = None,
    drafting: bool = True,
    check_weights: bool = False,
    media: Collection[Medium] = (),
    image_tokens: int | None = None,
) -> Iterator[OpenedModel]:
    """Open a bundle for the reference runtime.

    Args:
        path: A ``.litertlm`` file made by this project.
        hardware: Where to run; by default the CPU.
        cache_length: Slots of a cache; None for the bundle's own choice. Where the bundle has a fixed
            length, a shorter one limits sessions.
        drafting: Whether anything is to be drafted; the bundle must then have a drafter.
        check_weights: Compare the model sections' checksums, too.
        media: What messages may have besides text; the bundle must then take it.
        image_tokens: The most tokens that a picture becomes; None for the most that the bundle allows.

    Raises:
        BundleError: It is not such a bundle, or damaged, or of another family, or has no drafter, or does
            not take the media.
        EngineError: There is no such hardware.
        OutputError: There can be no folder for packed weights.
    """
    bundle = open_bundle(path)
    check_sections(bundle, weights=check_weights)
    _require_family(bundle)
    agreed = with_cache_length(path, _contract(bundle), cache_length)
    if drafting:
        require_drafter(path, agreed)
    text_side = read_text_side(bundle)
    hardware = hardware or Hardware()
    with ExitStack() as opened:
        executor = LitertExecutor(bundle, agreed, hardware, drafting=drafting)
        opened.enter_context(closing(executor))
        encoder = None
        if media:
            encoder = MediaEncoder(bundle, executor, hardware, media, image_tokens)
            opened.enter_context(closing(encoder))
        yield OpenedModel(executor, *text_side, encoder)


def read_text_side(source: TextSource) -> tuple[Tokenizer, ChatTemplate, Markers]:
    """Tokenizer, chat template, and how answers mark thoughts and tool calls.

    Raises:
        BundleError: One of them is missing or damaged.
    """
    return Tokenizer(source), ChatTemplate(source), Markers.of(source.llm_metadata())


def _require_family(bundle: Bundle) -> None:
    family = bundle.llm_metadata().llm_model_type.WhichOneof("model_type")
    if family != FAMILY:
        raise BundleError(
            f"{bundle.path}: expected a {FAMILY} bundle, found {family or 'no model type'}; the "
            "reference runtime runs Gemma 4 only: use --runtime litert-lm"
        )


def _contract(bundle: Bundle) -> Contract:
    manifest = bundle.manifest()
    if manifest is None:
        raise BundleError(
            f"{bundle.path}: expected a manifest of mtp-export, found none; the reference runtime runs "
            "bundles made by mtp-export: use --runtime litert-lm"
        )
    return stored_contract(bundle.path, manifest)
