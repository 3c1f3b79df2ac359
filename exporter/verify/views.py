"""Answers as a reader sees them: each token's text, and what became of the drafts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exporter.verify.answers import Answered, PromptAnswers
from exporter.verify.report import AnswerView, TokenView
from runtime_py.chat.tokenizer import StreamingText, Tokenizer

SHOWN = 2
"""Answers that a report shows."""


def answer_views(
    answers: Sequence[PromptAnswers], tokenizer: Tokenizer, noise: float
) -> tuple[AnswerView, ...]:
    """The answers with most accepted drafts to look at."""
    answered = [(answer.prompt, answer.speculative or answer.greedy) for answer in answers]
    answered.sort(key=lambda pair: -sum(done.accepted for done in pair[1].rounds))
    return tuple(
        AnswerView(prompt, tuple(_tokens(found, tokenizer, noise)))
        for prompt, found in answered[:SHOWN]
    )


def _tokens(answered: Answered, tokenizer: Tokenizer, noise: float) -> Iterator[TokenView]:
    """Texts of tokens that end inside a character come with the token that completes it."""
    texts, index = StreamingText(tokenizer), 0
    for done, drafts in zip(answered.rounds, answered.drafts, strict=True):
        for place, token in enumerate(done.tokens):
            accepted = place < done.accepted
            margin = answered.margins[index]
            rejected = "" if accepted or place >= len(drafts) else tokenizer.decode([drafts[place]])
            stop = token in tokenizer.stop_tokens
            yield TokenView(
                tokenizer.text_of(token) if stop else texts.push([token]),
                place + 1 if accepted else 0,
                margin,
                margin <= noise,
                rejected,
            )
            index += 1
