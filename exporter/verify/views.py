"""Answers as a reader sees them: each token's text, and what became of the drafts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exporter.verify.answers import Answer, Answered
from exporter.verify.report import AnswerView, TokenView
from runtime_py.chat.tokenizer import StreamingText, Tokenizer

SHOWN = 2
"""Answers that a report shows."""


def answer_views(
    answers: Sequence[Answer], tokenizer: Tokenizer, noise: float
) -> tuple[AnswerView, ...]:
    """The answers with most accepted drafts to look at."""

    def drafted(answer: Answer) -> int:
        return sum(done.accepted for done in _answered(answer).rounds)

    chosen = sorted(answers, key=drafted, reverse=True)[:SHOWN]
    return tuple(
        AnswerView(answer.prompt, tuple(_tokens(_answered(answer), tokenizer, noise)))
        for answer in chosen
    )


def _answered(answer: Answer) -> Answered:
    return answer.speculative or answer.greedy


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
