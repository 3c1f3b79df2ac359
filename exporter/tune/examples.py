"""Some held-out answers, with the drafts that were accepted in them before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exporter.tune.answers import Answer
from exporter.tune.judge import Judged
from exporter.tune.outcome import Example
from exporter.tune.questions import Tokens
from runtime_py.chat.conversation import Conversation, as_message
from runtime_py.chat.tokenizer import StreamingText, Tokenizer

SHOWN = 6
LEAST_TOKENS = 12
"""Shorter answers show nothing."""


def examples(
    answers: Sequence[Answer],
    before: Judged,
    after: Judged,
    questions: Mapping[Tokens, Conversation],
    tokenizer: Tokenizer,
) -> tuple[Example, ...]:
    """The first answers of some length; their order is that of checksums, so nobody has picked them."""
    long = [i for i, answer in enumerate(answers) if len(answer.tokens) >= LEAST_TOKENS]
    return tuple(
        Example(
            prompt=_text(questions[answers[i].prompt]),
            tokens=_pieces(answers[i].tokens, tokenizer),
            before=_padded(before.walks[i].marks(), len(answers[i].tokens)),
            after=_padded(after.walks[i].marks(), len(answers[i].tokens)),
        )
        for i in long[:SHOWN]
    )


def _text(question: Conversation) -> str:
    """The last thing that was said."""
    content = as_message(question.turns[-1]).content
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", part.get("response", ""))) for part in content)


def _pieces(tokens: Tokens, tokenizer: Tokenizer) -> tuple[str, ...]:
    """The text that becomes certain with each token."""
    streaming = StreamingText(tokenizer)
    *pieces, last = (streaming.push([token]) for token in tokens)
    return (*pieces, last + streaming.flush())


def _padded(marks: tuple[int, ...], length: int) -> tuple[int, ...]:
    """Marks of all tokens; the last ones of an answer that was cut were not judged."""
    return (*marks, *[0] * (length - len(marks)))
