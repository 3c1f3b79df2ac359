"""The prompts answered in the reference runtime: greedily, and by the speculative loop.

Keeps what the rungs and the report need of each answer: tokens, the margin of every choice, and what
became of every draft.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from exporter.verify.compare import margin
from runtime_py.chat.chat_template import ChatTemplate
from runtime_py.chat.conversation import Message
from runtime_py.chat.tokenizer import Tokenizer
from runtime_py.graph_executor import GraphExecutor
from runtime_py.loop.executor import CacheT, Floats, Lookups
from runtime_py.loop.rounds import Cursor, Limits, Round, Rounds
from runtime_py.loop.speculative import Chooser, Fixed, Greedy, Speaker, generate


@dataclass(frozen=True)
class Answered:
    """One answer. ``margins`` has the choice's margin for every token of ``tokens``."""

    tokens: tuple[int, ...]
    margins: tuple[float, ...]
    rounds: tuple[Round, ...]
    drafts: tuple[tuple[int, ...], ...]
    """What was drafted in each round."""


@dataclass(frozen=True)
class PromptAnswers:
    """Both ways of answering one prompt."""

    prompt: str
    prompt_tokens: tuple[int, ...]
    greedy: Answered
    speculative: Answered | None


NO_ANSWERS = "no prompt is shorter than the cache, so nothing was answered"


@dataclass
class Witness:
    """Chooses greedily and remembers the margins and the proposals."""

    chooser: Greedy
    margins: list[float] = field(default_factory=list)
    proposals: list[int] = field(default_factory=list)

    @property
    def greedy(self) -> bool:
        return self.chooser.greedy

    def choose(self, logits: Floats, slot: int) -> int:
        return self.chooser.choose(logits, slot)

    def judge(self, drafts: Sequence[int], logits: Floats, slot: int) -> tuple[int, int]:
        self.proposals += drafts
        accepted, following = self.chooser.judge(drafts, logits, slot)
        self.margins += [margin(row) for row in logits[: accepted + 1]]
        return accepted, following


def answer_all(
    executor: GraphExecutor[Any],
    tokenizer: Tokenizer,
    template: ChatTemplate,
    prompts: Sequence[str],
    max_new_tokens: int,
) -> tuple[PromptAnswers, ...]:
    """Answer every prompt that the cache has room for both ways; only greedily without a drafter."""
    answers = []
    for prompt in prompts:
        text = template.render([Message("user", prompt)])
        tokens = tuple(tokenizer.encode_prompt(text))
        if len(tokens) >= executor.cache_length:
            continue
        greedy = answer_greedily(executor, tokenizer, tokens, max_new_tokens)
        speculative = None
        if drafts := executor.draft_length:
            speculative = answer_greedily(
                executor, tokenizer, tokens, max_new_tokens, drafts=drafts
            )
        answers.append(PromptAnswers(prompt, tokens, greedy, speculative))
    return tuple(answers)


def answer_greedily(
    executor: GraphExecutor[Any],
    tokenizer: Tokenizer,
    tokens: tuple[int, ...],
    max_new_tokens: int,
    lookups: Lookups | None = None,
    *,
    drafts: int = 0,
) -> Answered:
    """Go on from a prompt's tokens, with ``drafts`` drafts a round.

    ``lookups`` has the embeddings of all of the prompt but its last token; None for the bundle's own.
    """
    witness = Witness(Greedy(tokenizer.suppressed_tokens))
    limits = Limits(max_new_tokens, tokenizer.stop_tokens, executor.cache_length)
    steps = decode_after(executor, executor.new_cache(), witness, tokens, limits, drafts, lookups)
    rounds, drafted = list[Round](), list[tuple[int, ...]]()
    for done in steps:
        rounds.append(done)
        drafted.append(tuple(witness.proposals))
        witness.proposals.clear()
    emitted = tuple(token for done in rounds for token in done.tokens)
    margins = tuple(witness.margins[: len(emitted)])
    return Answered(emitted, margins, tuple(rounds), tuple(drafted))


def decode_after(
    executor: GraphExecutor[CacheT],
    cache: CacheT,
    chooser: Chooser,
    tokens: Sequence[int],
    limits: Limits,
    drafts: int,
    lookups: Lookups | None = None,
) -> Rounds:
    """Go on from ``tokens`` with ``drafts`` drafts a round; what the cache had before is overwritten."""
    if len(tokens) > 1:
        executor.prefill(cache, tokens[:-1], 0, lookups)
    speaker = Speaker(executor, cache, chooser)
    return generate(speaker, Cursor(len(tokens) - 1, tokens[-1]), limits, Fixed(drafts))
