"""Prompts with pictures or clips: as an app gives them to the engine, as text, and answered here.

Where a template has the place for one, the engine puts the token that begins it, its soft tokens, and what
the bundle has for its end; per-layer embeddings of the last two are those of token 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from exporter.verify.answers import PromptAnswers, answer_greedily
from exporter.verify.compare import Floats, bridged
from exporter.verify.sides.graph_run import read_text
from exporter.verify.sides.noise import MOVED_RUNS
from exporter.verify.sides.tower_golden import MediaPrompt
from exporter.verify.sides.tower_run import encode, moved_input
from exporter.verify.tolerances import MOST_NOISE
from exporter.verify.tower_input import AskedFile, TowerInput
from runtime_py.chat.conversation import Conversation, Message
from runtime_py.chat.media import Medium
from runtime_py.litert.towers import TowerGraphs
from runtime_py.media.soft_tokens import SoftPart, SoftTokens
from runtime_py.opened_model import OpenedModel

OPENING = {Medium.IMAGE: "start_of_image_token", Medium.AUDIO: "start_of_audio_token"}
"""Fields of the bundle's metadata."""
Move = Callable[[TowerInput], TowerInput]

SUFFIX = {Medium.IMAGE: ".png", Medium.AUDIO: ".wav"}


@dataclass(frozen=True)
class MediaQuestion:
    """What is asked: some pictures or some clips, then a text."""

    medium: Medium
    given: tuple[AskedFile, ...]
    files: tuple[Path, ...]
    prompt: str

    @property
    def message(self) -> Message:
        """As an app sends it."""
        parts = ({"type": self.medium.value, "path": str(file)} for file in self.files)
        return Message("user", (*parts, {"type": "text", "text": self.prompt}))

    @property
    def conversation(self) -> Conversation:
        """For the engine."""
        return Conversation((self.message,))


def media_questions(
    medium: Medium, given: Sequence[AskedFile], prompts: Sequence[str], folder: Path
) -> tuple[MediaQuestion, ...]:
    """Each file with a prompt of its own, and all of them with the first; as files in ``folder``."""
    files = [folder / f"{index}{SUFFIX[medium]}" for index in range(len(given))]
    for file, one in zip(files, given, strict=True):
        file.write_bytes(one.content)

    def asked(chosen: Sequence[int], prompt: str) -> MediaQuestion:
        return MediaQuestion(
            medium, tuple(given[i] for i in chosen), tuple(files[i] for i in chosen), prompt
        )

    every = range(len(given))
    single = [asked([i], prompts[i % len(prompts)]) for i in every]
    return (*single, asked(every, prompts[0])) if len(given) > 1 else tuple(single)


@dataclass(frozen=True)
class MediaReply:
    """A question, and what the reference runtime answers to it."""

    question: MediaQuestion
    answer: PromptAnswers


def answer_questions(
    model: OpenedModel,
    graphs: TowerGraphs,
    questions: Sequence[MediaQuestion],
    max_new_tokens: int,
) -> Iterator[MediaReply]:
    """Greedy answers of the reference runtime, to those questions that fit into the cache."""
    executor, tokenizer = model.executor, model.tokenizer
    for question in questions:
        tokens, soft = prompt_tokens(model, graphs, question)
        if len(tokens) < executor.cache_length:
            answer = answer_greedily(executor, tokenizer, tokens, max_new_tokens, soft)
            yield MediaReply(question, PromptAnswers(question.prompt, tokens, answer, None))


def prompt_tokens(
    model: OpenedModel,
    graphs: TowerGraphs,
    question: MediaQuestion,
    move: Move = lambda given: given,
) -> tuple[tuple[int, ...], SoftTokens]:
    """A question's tokens, and the embeddings that they stand for; ``move`` may change what is encoded."""
    medium, tokenizer, soft = question.medium, model.tokenizer, SoftTokens(model.executor)
    gemma = model.executor.bundle.llm_metadata().llm_model_type.gemma4
    opening = tokenizer.encode(getattr(gemma, OPENING[medium]).token_str)
    first, *pieces = model.template.render([question.message]).split(medium.place)
    tokens = tokenizer.encode_prompt(first)
    for one, piece in zip(question.given, pieces, strict=True):
        rows = [encode(graphs, move(given)).embeddings for given in one.pieces]
        part = SoftPart(one.content, np.concatenate([*rows, graphs.end()[None]]))
        tokens += [*opening, *soft.numbers(part), *tokenizer.encode(piece)]
    return tuple(tokens), soft


def measure_reply_noise(
    model: OpenedModel, graphs: TowerGraphs, reply: MediaReply, steps: float
) -> float:
    """The margin that may be bridged at a token of a reply where what is encoded moves by so many steps."""
    answer = reply.answer
    tokens = (*answer.prompt_tokens, *answer.greedy.tokens)[:-1]
    chosen = range(len(answer.prompt_tokens) - 1, len(tokens))

    def logits(move: Move) -> Floats:
        _, soft = prompt_tokens(model, graphs, reply.question, move)
        return read_text(model.executor, model.executor.new_cache(), tokens, chosen, soft)[0]

    as_given, noise = logits(lambda given: given), 0.0
    for seed in range(MOVED_RUNS):
        moved = logits(partial(moved_input, seed=seed, steps=steps))
        noise = max(noise, bridged(moved, as_given, MOST_NOISE))
    return noise


def as_prompt(model: OpenedModel, question: MediaQuestion) -> MediaPrompt:
    """As transformers is asked: with the pictures, or with what the engine makes of the clips."""
    files = question.files
    if question.medium is Medium.AUDIO:
        files = tuple(map(_frames_file, files, question.given))
    return MediaPrompt(model.template.render([question.message]), files)


def _frames_file(sound: Path, given: AskedFile) -> Path:
    """The pieces of a clip, beside its file."""
    file = sound.with_suffix(".npz")
    frames, masks = zip(*(piece.arrays.values() for piece in given.pieces), strict=True)
    np.savez(file, frames=np.stack(frames), mask=np.stack(masks))
    return file
