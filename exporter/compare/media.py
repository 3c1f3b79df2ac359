"""What a recipe does to pictures and sound: to soft tokens, and to answers.

Soft tokens are those of what ``verify`` draws, through every signature. Answers are the whole bundle's, so
what the recipe does to the text model shows in them, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter.bundle.inspection import inspect_bundle
from exporter.compare.figures import MediumFigures
from exporter.compare.questions import Question, drawn_questions
from exporter.extras import MissingExtraError, require_audio, require_images
from exporter.verify.compare import Floats, position_errors
from exporter.verify.medium_evidence import kinds_of
from exporter.verify.sides.tower_run import encode
from exporter.verify.tower_kind import TowerKind
from runtime_py.chat.conversation import as_message
from runtime_py.chat.media import Medium
from runtime_py.litert.hardware import Hardware
from runtime_py.opened_model import OpenedModel, open_model
from runtime_py.prompt import ContextFullError

DECODERS = {Medium.IMAGE: require_images, Medium.AUDIO: require_audio}
"""What refuses where there is none."""


@dataclass(frozen=True)
class Replied:
    """A question, and what a bundle said to it."""

    question: Question
    reply: str


@dataclass(frozen=True)
class Observed:
    """What a bundle makes of pictures and sounds."""

    soft_tokens: Mapping[Medium, Floats]
    """Of what is drawn, after the adapter, ``[n, H]``."""
    replies: tuple[Replied, ...]
    """To questions about what it takes, as far as they fit into its context."""
    notes: tuple[str, ...]
    """Why replies are missing."""

    def reply_to(self, question: Question) -> str | None:
        """What was said; None where it was not asked."""
        return next((one.reply for one in self.replies if one.question == question), None)


def observe(
    path: Path, questions: Sequence[Question], max_new_tokens: int, threads: int
) -> Observed:
    """Encode what is drawn, and ask; nothing of it where a bundle takes text alone.

    Args:
        path: A bundle.
        questions: What is asked; where there are none, :func:`~exporter.compare.questions.drawn_questions`.
        max_new_tokens: The longest reply.
        threads: Of the CPU.

    Raises:
        BundleError: Sections for pictures or sound are not what it says, or LiteRT refuses them.
        MediaError: A picture or a sound cannot be decoded.
    """
    inspection, hardware = inspect_bundle(path), Hardware(threads=threads)
    kinds = kinds_of(inspection)
    seen = dict[Medium, Floats]()
    for kind in kinds:
        with closing(kind.graphs(inspection.bundle, hardware)) as graphs:
            rows = [encode(graphs, given).embeddings for given in kind.inputs()]
            seen[kind.medium] = np.concatenate(rows)
    decoded, notes = _decoded(kinds)
    every = questions or drawn_questions(kinds)
    asked = [one for one in every if one.media <= decoded]
    if questions and len(asked) < len(every):
        notes += (
            f"{len(every) - len(asked)} questions are about what it does not take: not asked",
        )
    if not asked:
        return Observed(seen, (), notes)
    media = frozenset[Medium]().union(*(one.media for one in asked))
    with open_model(path, hardware, drafting=False, media=media) as model:
        said = [(one, _reply(model, one, max_new_tokens)) for one in asked]
    kept = tuple(Replied(one, reply) for one, reply in said if reply is not None)
    if len(kept) < len(asked):
        notes += (f"{len(asked) - len(kept)} questions do not fit into the context: not asked",)
    return Observed(seen, kept, notes)


def _decoded(kinds: Sequence[TowerKind]) -> tuple[frozenset[Medium], tuple[str, ...]]:
    """What of the media there is a decoder for, and why there is none for others."""
    found, notes = set[Medium](), list[str]()
    for kind in kinds:
        try:
            DECODERS[kind.medium]()
            found.add(kind.medium)
        except MissingExtraError as error:
            notes.append(f"answers about {kind.medium.noun}s are not counted: {error}")
    return frozenset(found), tuple(notes)


def _reply(model: OpenedModel, question: Question, max_new_tokens: int) -> str | None:
    """Greedily; None where the question is longer than the context."""
    asked = question.conversation
    session = model.session(history=asked.history, setting=asked.setting)
    try:
        return session.answer(as_message(asked.turns[0]), max_new_tokens).text
    except ContextFullError:
        return None


def compare_media(found: Observed, reference: Observed) -> tuple[MediumFigures, ...]:
    """How far soft tokens and replies are from the reference's, of each medium that both take."""
    return tuple(
        _figures(medium, found, reference)
        for medium, rows in found.soft_tokens.items()
        if medium in reference.soft_tokens and rows.shape == reference.soft_tokens[medium].shape
    )


def _figures(medium: Medium, found: Observed, reference: Observed) -> MediumFigures:
    errors = position_errors(found.soft_tokens[medium], reference.soft_tokens[medium])
    both = [
        (one, same)
        for one in found.replies
        if medium in one.question.media and (same := reference.reply_to(one.question)) is not None
    ]
    known = [one for one, _ in both if one.question.right is not None]
    return MediumFigures(
        medium.noun,
        float(np.median(errors)),
        float(errors.max()),
        len(errors),
        len(both),
        sum(one.reply == same for one, same in both),
        len(known),
        sum(one.question.is_right(one.reply) for one in known),
    )
