"""What a tuning works on: the target's answers, shared out, and the features of each share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from exporter.files.output import check_free_space
from exporter.progress import Reporter
from exporter.tune.answers import Answer, AnswerFile
from exporter.tune.chain import Source
from exporter.tune.features import FeatureFile
from exporter.tune.options import TuneError, TuningOptions
from exporter.tune.outcome import DataCounts
from exporter.tune.questions import Questions, Tokens, prompt_tokens
from exporter.tune.split import Split, counts, split, unique, usable
from exporter.tune.target_reading import TargetReader
from runtime_py.chat.conversation import Conversation
from runtime_py.chat.tokenizer import Tokenizer
from runtime_py.opened_model import OpenedModel, open_model


@dataclass(frozen=True)
class Said:
    """Questions and the target's answers."""

    split: Split
    general: tuple[Answer, ...]
    data: DataCounts
    questions: Mapping[Tokens, Conversation]
    tokenizer: Tokenizer

    @property
    def every(self) -> tuple[Answer, ...]:
        """All answers."""
        shares = self.split
        return (*shares.training, *shares.watched, *shares.held_out, *self.general)


def hear(
    bundle: Path, questions: Questions, options: TuningOptions, work: Path, reporter: Reporter
) -> Said:
    """Ask the target what was not asked before, and share its answers out.

    A general prompt that is one of the users', too, is left out: it may be trained on.

    Raises:
        MtpExportError: The template refuses a conversation, or there are too few usable answers.
    """
    with open_model(bundle, drafting=False) as model:
        asking = _Asking(model, options, work, reporter)
        tokens, answers = asking.answers(questions.users, "answers.jsonl", "Answering the prompts")
        found = split(usable(answers))
        pairs = zip(tokens, questions.users, strict=True)
        by_prompt = {one: question for one, question in pairs if one is not None}
        _, kept = asking.answers(
            questions.general, "general.jsonl", "Answering the general prompts"
        )
        general = tuple(one for one in usable(kept) if one.prompt not in by_prompt)
        data = counts(tokens, answers, found)
        return Said(found, general, data, by_prompt, model.tokenizer)


@dataclass(frozen=True)
class _Asking:
    model: OpenedModel
    options: TuningOptions
    work: Path
    reporter: Reporter

    def answers(
        self, questions: Sequence[Conversation], file: str, title: str
    ) -> tuple[list[Tokens | None], list[Answer]]:
        """Each question in tokens, and the answers to those that are different and fit."""
        most, tail = self.options.max_tokens, self.options.draft_length
        room = self.model.executor.cache_length - most - tail
        if room < 1:
            raise TuneError(
                f"--max-tokens {most} leaves no room for prompts in a cache of "
                f"{self.model.executor.cache_length} slots; give less, or a --bundle with a longer cache"
            )
        tokens = prompt_tokens(self.model, questions, room)
        prompts = unique(tokens)
        if not prompts:
            return tokens, []
        with self.reporter.stage(title, len(prompts), " answers") as advance:
            answer_file = AnswerFile(self.work / file)
            return tokens, answer_file.complete(self.model, prompts, most, tail, advance)


@dataclass(frozen=True)
class Sources:
    """Answers with their features."""

    training: Source
    watched: Source
    held_out: Source
    general: Source | None

    @property
    def nbytes(self) -> int:
        """Of all features on disk."""
        return sum(source.file.nbytes for source in self.every.values())

    @property
    def missing(self) -> int:
        """Bytes that are not on disk yet."""
        return sum(source.file.missing for source in self.every.values())

    @property
    def every(self) -> dict[str, Source]:
        """Those that there are, by name."""
        return {name: source for name, source in vars(self).items() if source is not None}


def read_target(said: Said, target: TargetReader, work: Path, reporter: Reporter) -> Sources:
    """Let the target read all answers, as far as it has not.

    Raises:
        OutputError: The disk has no room for the features.
    """
    embeddings = target.embeddings(said.every)

    def source(name: str, answers: tuple[Answer, ...], dtype: torch.dtype) -> Source:
        file = FeatureFile(work / f"{name}.features", target.config, answers, dtype)
        return Source(file, embeddings, target.device)

    shares, exact = said.split, torch.float32
    sources = Sources(
        source("training", shares.training, torch.bfloat16),
        source("watched", shares.watched, torch.bfloat16),
        source("held_out", shares.held_out, exact),
        source("general", said.general, exact) if said.general else None,
    )
    check_free_space(work, sources.missing, "keeping features")
    title: Callable[[str], str] = "Reading {} with the target".format
    for what, found in sources.every.items():
        target.write(found.file, title(what.replace("_", "-") + " answers"), reporter)
    return sources
