"""Chat sessions: what is in the cache is what the template says, turn after turn."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models

from exporter.errors import EngineError
from runtime_py.chat.chat_template import ChatTemplate
from runtime_py.chat.conversation import PLAIN, Message, Setting
from runtime_py.chat.reply_text import Markers, Span
from runtime_py.chat.tokenizer import StreamingText, Tokenizer
from runtime_py.loop.returning import Returning
from runtime_py.loop.rounds import Finish, Source
from runtime_py.loop.speculative import Fixed
from runtime_py.prompt import ContextFullError
from runtime_py.reply import Reply
from runtime_py.session import Session
from tests.runtime.toys import DRAFTERS, ToyExecutor

LETTERS = "abcdefgh"
START, TURN, STOP = 0, 1, 2
VOCAB = 3 + len(LETTERS)
NO_MARKERS = Markers(None, Span("<", ">"), "'")


class LetterTokenizer(Tokenizer):
    """One token a letter; ``^`` starts, ``|`` opens a turn, ``$`` ends an answer."""

    def __init__(self) -> None:
        self.start_token = START
        self.stop_tokens = frozenset({STOP})
        self.suppressed_tokens = frozenset()

    def encode(self, text: str) -> list[int]:
        return [("^|$" + LETTERS).index(letter) for letter in text]

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(("^|$" + LETTERS)[token] for token in tokens)


class LetterTemplate(ChatTemplate):
    """``|question|answer$`` for each turn; drops the letter ``h`` from earlier answers if asked to."""

    def __init__(self, dropped: str = "") -> None:
        self.dropped = dropped

    def render(
        self, messages: Sequence[Message], setting: Setting = PLAIN, *, answering: bool = True
    ) -> str:
        text = ""
        for message in messages:
            said = str(message.content)
            if message.role == "assistant":
                said = said.replace(self.dropped, "") + "$" if self.dropped else said + "$"
            text += "|" + said
        return text + "|" if answering else text


def toy_session(
    drafter: str = "leading astray",
    *,
    dropped: str = "",
    drafts: int = 3,
    cache_length: int = 90,
    turn: int = 0,
) -> Session[list[int]]:
    toy = ToyExecutor(vocab=VOCAB, cache_length=cache_length, seed=4, turn=turn)
    toy.drafter = DRAFTERS[drafter](toy)
    template = LetterTemplate(dropped)
    return Session(toy, LetterTokenizer(), template, NO_MARKERS, policy=Fixed(drafts))


def fresh_answer(history: Sequence[Message], question: str, *, dropped: str = "") -> str:
    """The answer of a session that is given the conversation instead of having had it."""
    toy = ToyExecutor(vocab=VOCAB, cache_length=90, seed=4)
    session = Session(toy, LetterTokenizer(), LetterTemplate(dropped), NO_MARKERS, history=history)
    return session.answer(question, 12).text


@settings(max_examples=60, deadline=None)
@given(
    questions=st.lists(st.text(LETTERS, min_size=1, max_size=5), min_size=1, max_size=4),
    drafter=st.sampled_from(sorted(DRAFTERS)),
    drafts=st.integers(0, 3),
    dropped=st.sampled_from(["", "a", "h"]),
    turn=st.sampled_from([0, 8, 13]),
)
def test_every_turn_is_as_if_it_had_been_given_the_conversation(
    questions: list[str], drafter: str, drafts: int, dropped: str, turn: int
) -> None:
    session = toy_session(drafter, dropped=dropped, drafts=drafts, turn=turn)
    for question in questions:
        expected = fresh_answer(session.messages, question, dropped=dropped)
        answer = session.answer(question, 12)
        assert answer.text == expected
        assert_cache_is_what_was_said(session, answer)


def test_what_a_ring_has_overwritten_is_prefilled_again() -> None:
    """The template drops the first letter of the answer, which is far behind what the cache holds."""
    said = toy_session().answer("abc", 12).text
    full, ring = (toy_session(dropped=said[0], turn=turn) for turn in (0, 8))
    assert full.answer("abc", 12).text == ring.answer("abc", 12).text == said
    expected, answer = full.answer("d", 8), ring.answer("d", 8)
    assert answer.text == expected.text
    assert (expected.reused_tokens, answer.reused_tokens) == (6, 0)


def assert_cache_is_what_was_said(session: Session[list[int]], answer: Reply) -> None:
    """The cache begins with the rendered prompt, then the answer's tokens; a pending one may lack."""
    prompt = session._reader.read(session.messages[:-1], session._context_length).tokens
    whole = [*prompt, *answer.tokens]
    assert list(session.committed) in (whole, whole[:-1])


def test_only_what_is_new_is_prefilled() -> None:
    session = toy_session()
    first = session.answer("abc", 8)
    assert (first.reused_tokens, first.prefill_tokens) == (0, 6)  # ^|abc|
    second = session.answer("de", 8)
    assert second.reused_tokens in (6 + len(first.tokens), 6 + len(first.tokens) - 1)
    assert second.prefill_tokens <= 6  # at most a pending token, $, |de|


def test_what_the_template_drops_is_prefilled_again() -> None:
    said = toy_session().answer("abc", 8).text
    kept, dropping = toy_session(), toy_session(dropped=said[0])
    for session in (kept, dropping):
        assert session.answer("abc", 8).text == said
    again = dropping.answer("d", 4)
    assert again.reused_tokens == 6  # ^|abc|, nothing of the answer
    assert kept.answer("d", 4).reused_tokens > 6


def test_a_full_context_is_a_clear_error_and_changes_nothing() -> None:
    session = toy_session(cache_length=20)
    session.answer("abc", 4)
    before = session.messages, session.committed
    with pytest.raises(ContextFullError, match="the context holds 20"):
        session.answer("abcdefgh" * 2, 4)
    assert (session.messages, session.committed) == before
    assert issubclass(ContextFullError, EngineError)


def test_an_answer_that_fills_the_context_ends_there() -> None:
    session = toy_session(cache_length=16)
    answers = [session.answer("ab", 40)]
    assert answers[0].finish in (Finish.CONTEXT, Finish.STOP)
    assert len(session.committed) <= 16


def test_less_of_the_cache_can_be_used() -> None:
    toy = ToyExecutor(vocab=VOCAB, cache_length=90)
    session = Session(toy, LetterTokenizer(), LetterTemplate(), NO_MARKERS, context_length=10)
    with pytest.raises(ContextFullError, match="the context holds 10"):
        session.answer("abcdefgh", 4)


def test_an_abandoned_answer_stays_as_far_as_it_went() -> None:
    session = toy_session()
    pieces = session.ask("abc", 12)
    piece = next(pieces)
    pieces.close()
    assert [message.role for message in session.messages] == ["user", "assistant"]
    assert session.messages[1].content == piece
    question = "d"
    assert session.answer(question, 12).text == fresh_answer(session.messages[:2], question)


@pytest.mark.parametrize("drafter", sorted(DRAFTERS))
def test_pieces_say_which_tokens_were_drafted(drafter: str) -> None:
    """They are the same text, and as many as were accepted, a stop token among them or not."""
    pieces = Returning(toy_session(drafter).stream("abc", 12))
    found = list(pieces)
    assert "".join(piece.text for piece in found) == pieces.value.text
    assert pieces.value.text == toy_session(drafter).answer("abc", 12).text
    assert len(found) == pieces.value.decode_tokens
    drafted = sum(piece.source is Source.DRAFTER for piece in found)
    assert drafted == sum(pieces.value.acceptance.accepted)
    assert drafted or drafter != "perfect"


def test_a_system_prompt_comes_first() -> None:
    toy = ToyExecutor(vocab=VOCAB, cache_length=90)
    history = (Message("system", "hh"),)
    session = Session(toy, LetterTokenizer(), LetterTemplate(), NO_MARKERS, history=history)
    session.answer("a", 3)
    assert LetterTokenizer().decode(session.committed).startswith("^|hh|a|")


@pytest.mark.parametrize("length", range(1, 6))
def test_an_answer_is_never_longer_than_asked_for(length: int) -> None:
    answer = toy_session("perfect").answer("abc", length)
    assert len(answer.tokens) <= length
    assert (len(answer.tokens) == length) == (answer.finish is Finish.LENGTH) or answer.tokens[
        -1
    ] == STOP


class ByteTokenizer(Tokenizer):
    """Every token a byte, decoded the way Gemma's tokenizer decodes what it has no token for."""

    def __init__(self) -> None:
        vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)}
        self._tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
        self._tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=12), cuts=st.lists(st.integers(1, 5), max_size=20))
def test_streamed_text_is_the_text_and_never_half_a_character(text: str, cuts: list[int]) -> None:
    streaming, left, pieces = StreamingText(ByteTokenizer()), list(text.encode()), []
    for cut in [*cuts, len(left) + 1]:
        pieces.append(streaming.push(left[:cut]))
        left = left[cut:]
    whole_characters = "".join(pieces)
    assert text.startswith(whole_characters)
    assert whole_characters + streaming.flush() == text


def test_half_a_character_is_held_back() -> None:
    streaming = StreamingText(ByteTokenizer())
    euro = "€".encode()
    assert streaming.push(b"a" + euro[:1]) == ""
    assert streaming.push(euro[1:2]) == ""
    assert streaming.push(euro[2:]) == "a€"
    assert streaming.push(euro[:2]) == ""
    assert set(streaming.flush()) == {"\ufffd"}


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_pictures_and_sounds_that_nothing_encodes(kind: str) -> None:
    session = toy_session()
    asked = Message("user", ({"type": kind, "path": "none"},))
    with pytest.raises(EngineError, match="the model was opened for text alone"):
        session.answer(asked, 12)
    assert session.messages == ()
