"""Prompts with pictures: as an app gives them to the engine, as text, and answered in the reference runtime.

Where a template has the place for a picture, the engine puts the token that
begins a picture, its soft tokens, and what the bundle has for its end; per-layer embeddings of the last two
are those of token 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter.checkpoints.assets.media_tokens import PICTURE
from exporter.verify.answers import PromptAnswers, answer_greedily
from exporter.verify.pictures import SamplePicture, png
from exporter.verify.sides.picture_golden import PicturePrompt
from runtime_py.chat.conversation import Conversation, Message
from runtime_py.litert.pictures import PictureGraphs
from runtime_py.media.soft_tokens import SoftPart, SoftTokens
from runtime_py.opened_model import OpenedModel


@dataclass(frozen=True)
class PictureQuestion:
    """What is asked: some pictures, then a text."""

    pictures: tuple[SamplePicture, ...]
    files: tuple[Path, ...]
    prompt: str

    @property
    def message(self) -> Message:
        """As an app sends it."""
        images = ({"type": "image", "path": str(file)} for file in self.files)
        return Message("user", (*images, {"type": "text", "text": self.prompt}))

    @property
    def conversation(self) -> Conversation:
        """For the engine."""
        return Conversation((self.message,))


def picture_questions(
    pictures: Sequence[SamplePicture], prompts: Sequence[str], folder: Path
) -> tuple[PictureQuestion, ...]:
    """Each picture with a prompt of its own, and all of them with the first; as PNG files in ``folder``."""
    files = [folder / f"{index}.png" for index in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        file.write_bytes(png(picture.pixels))

    def asked(chosen: Sequence[int], prompt: str) -> PictureQuestion:
        return PictureQuestion(
            tuple(pictures[i] for i in chosen), tuple(files[i] for i in chosen), prompt
        )

    every = range(len(pictures))
    single = [asked([i], prompts[i % len(prompts)]) for i in every]
    return (*single, asked(every, prompts[0])) if len(pictures) > 1 else tuple(single)


@dataclass(frozen=True)
class PictureReply:
    """A question, and what the reference runtime answers to it."""

    question: PictureQuestion
    answer: PromptAnswers


def answer_questions(
    model: OpenedModel,
    graphs: PictureGraphs,
    questions: Sequence[PictureQuestion],
    max_new_tokens: int,
) -> Iterator[PictureReply]:
    """Greedy answers of the reference runtime, to those questions that fit into the cache."""
    executor, tokenizer = model.executor, model.tokenizer
    gemma = executor.bundle.llm_metadata().llm_model_type.gemma4
    opening = tokenizer.encode(gemma.start_of_image_token.token_str)
    for question in questions:
        soft = SoftTokens(executor)
        first, *pieces = model.template.render([question.message]).split(PICTURE.place)
        tokens = tokenizer.encode_prompt(first)
        for picture, piece in zip(question.pictures, pieces, strict=True):
            numbers = soft.numbers(_encoded(graphs, picture))
            tokens += [*opening, *numbers, *tokenizer.encode(piece)]
        if len(tokens) < executor.cache_length:
            answer = answer_greedily(executor, tokenizer, tuple(tokens), max_new_tokens, soft)
            yield PictureReply(
                question, PromptAnswers(question.prompt, tuple(tokens), answer, None)
            )


def _encoded(graphs: PictureGraphs, picture: SamplePicture) -> SoftPart:
    rows = graphs.soft_tokens(picture.patches(graphs.contract.patch_size))
    return SoftPart(picture.pixels.tobytes(), np.concatenate([rows, graphs.end()[None]]))


def as_prompt(model: OpenedModel, question: PictureQuestion) -> PicturePrompt:
    """As transformers is asked."""
    return PicturePrompt(model.template.render([question.message]), question.files)
