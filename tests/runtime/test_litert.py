"""The reference runtime on real bundles: the stock engine's text, mapped files, clear errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporter.bundle.reader import open_bundle
from exporter.contract.names import DECODE, EMBEDDINGS
from exporter.errors import BundleError, EngineError
from runtime_py.chat.conversation import Conversation, Message, as_message
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.graph_executor import Chunk, prefill_chunks
from runtime_py.litert.executor import LitertExecutor
from runtime_py.litert.hardware import Hardware
from runtime_py.litert.mapped_section import can_map
from runtime_py.loop.executor import Floats
from runtime_py.loop.rounds import Cursor, Finish, Limits
from runtime_py.loop.sampling import SamplingSettings
from runtime_py.loop.speculative import Fixed, Greedy, Speaker, generate
from runtime_py.opened_model import DraftLength, OpenedModel, open_model
from runtime_py.prompt import ContextFullError
from runtime_py.reference_run import RunSettings, run_reference
from runtime_py.reply import RunResult
from runtime_py.same_text import ReplyLimits, same_text
from tests.bundles import CACHE_LENGTH, DRAFT_LENGTH, SHORT_CACHE, held_out_prompts

SINGLE_TURNS = 40
CHATS, TURNS = 6, 3
MAX_NEW_TOKENS = 64
WHOLE_ANSWER = 300
LIMITS = ReplyLimits(MAX_NEW_TOKENS, CACHE_LENGTH, DRAFT_LENGTH)
HARDWARE = Hardware(threads=2)


@pytest.fixture(scope="module")
def bundle(tiny_bundles: dict[str, Path]) -> Path:
    return tiny_bundles["float32"]


@pytest.fixture(scope="module")
def model(bundle: Path) -> Iterator[OpenedModel]:
    with open_model(bundle, HARDWARE) as opened:
        yield opened


def chats() -> list[Conversation]:
    """Single questions, then chats of several turns."""
    prompts = held_out_prompts(SINGLE_TURNS + CHATS * TURNS)
    several = [
        Conversation(tuple(prompts[begin : begin + TURNS]))
        for begin in range(SINGLE_TURNS, len(prompts), TURNS)
    ]
    return [*(Conversation.asking(prompt) for prompt in prompts[:SINGLE_TURNS]), *several]


@pytest.fixture(scope="module")
def runs(model: OpenedModel) -> dict[int, RunResult]:
    """All chats through the reference runtime, by drafts a round."""
    return {
        drafts: run_reference(model, RunSettings(drafts, MAX_NEW_TOKENS), chats())
        for drafts in (0, DRAFT_LENGTH)
    }


def as_single_turns(run: RunResult) -> list[Conversation]:
    """Every turn as a conversation of its own, with what was said before as its history.

    The stock engine does not commit the end of its own answers properly (see below), so it is given
    each conversation afresh.
    """
    found = []
    for conversation, replies in zip(chats(), run.replies, strict=True):
        history: tuple[Message, ...] = ()
        for turn, reply in zip(conversation.turns, replies, strict=True):
            found.append(Conversation((turn,), history))
            history = (*history, as_message(turn), Message("assistant", reply.text))
    return found


@pytest.mark.parametrize("mtp", [False, True])
def test_text_is_the_stock_engines(mtp: bool, bundle: Path, runs: dict[int, RunResult]) -> None:
    ours = runs[DRAFT_LENGTH if mtp else 0]
    settings = EngineSettings(bundle, mtp, MAX_NEW_TOKENS, threads=2)
    engine = run_engine(settings, as_single_turns(ours))
    replies = [reply for replies in ours.replies for reply in replies]
    assert len(replies) >= 50
    differing = [
        (mine.text, reply[0].text)
        for mine, reply in zip(replies, engine.replies, strict=True)
        if not same_text(mine, reply[0], LIMITS)
    ]
    assert not differing
    if mtp:
        assert ours.success_rate == pytest.approx(engine.success_rate, abs=0.03)


def test_drafting_changes_no_token(runs: dict[int, RunResult]) -> None:
    assert runs[DRAFT_LENGTH].texts == runs[0].texts
    assert runs[DRAFT_LENGTH].decode_tokens == runs[0].decode_tokens
    assert [len(run.acceptance.drafted) for run in runs.values()] == [0, DRAFT_LENGTH]


def test_the_drafter_works(runs: dict[int, RunResult]) -> None:
    acceptance = runs[DRAFT_LENGTH].acceptance
    assert acceptance.rate is not None
    assert acceptance.rate > 0.4
    assert sorted(acceptance.accepted, reverse=True) == list(acceptance.accepted)


@pytest.mark.parametrize("drafts", [1, 2, "auto"])
def test_any_draft_length_gives_the_same_text(
    drafts: DraftLength, model: OpenedModel, runs: dict[int, RunResult]
) -> None:
    run = run_reference(model, RunSettings(drafts, MAX_NEW_TOKENS), chats()[:5])
    assert run.texts == runs[0].texts[: len(run.texts)]


class EngineLikeExecutor(LitertExecutor):
    """Embeds the token -1 as zeros, which is what the engine makes of a pending token."""

    def embed(self, token: int) -> Floats:
        return super().embed(max(token, 0)) * np.float32(token >= 0)

    def embed_per_layer(self, token: int) -> Floats:
        return super().embed_per_layer(max(token, 0)) * np.float32(token >= 0)


def test_how_the_stock_engine_goes_on_after_its_own_answer(bundle: Path) -> None:
    """Its second turn is ours if the end of the first is committed as the engine does it.

    litert-lm-api 0.18.1 keeps the answer's stop token pending and prefills it with the next turn,
    but with an embedding of zeros (it looks embeddings up in the next decode, which does not come),
    and without the newline that the template puts behind it. So later turns of the engine can
    differ from those of a fresh conversation with the same history, which are what the model was
    trained for, what transformers computes and what this runtime does.
    """
    first, second = held_out_prompts(2)
    pairs = ((first, second), (second, first))
    asked = [Conversation(pair) for pair in pairs]
    engine = run_engine(EngineSettings(bundle, False, WHOLE_ANSWER, threads=2), asked)
    with open_model(bundle, HARDWARE, drafting=False) as opened:
        agreed = opened.executor.contract
        like = EngineLikeExecutor(open_bundle(bundle), agreed, HARDWARE, drafting=False)
        with closing(like) as executor:
            like_it = replace(opened, executor=executor)
            texts = [second_answer(like_it, *pair) for pair in pairs]
    assert texts == [replies[1].text for replies in engine.replies]


def second_answer(opened: OpenedModel, first: str, second: str) -> str:
    """The answer to ``second``, after ``first`` and its answer are committed as the engine does it."""
    executor, tokenizer = opened.executor, opened.tokenizer
    answer = opened.session().answer(first, WHOLE_ANSWER)
    assert answer.finish is Finish.STOP
    prompts = [opened.template.render([Message("user", turn)]) for turn in (first, second)]
    turn = tokenizer.encode_prompt(prompts[1])[1:]  # without the start token
    tokens = [*tokenizer.encode_prompt(prompts[0]), *answer.tokens[:-1], -1, *turn]
    cache = executor.new_cache()
    executor.prefill(cache, tokens[:-1], 0)
    limits = Limits(WHOLE_ANSWER, tokenizer.stop_tokens, executor.cache_length)
    speaker = Speaker(executor, cache, Greedy())
    rounds = generate(speaker, Cursor(len(tokens) - 1, tokens[-1]), limits, Fixed(0))
    said = [token for done in rounds for token in done.tokens]
    return tokenizer.decode([token for token in said if token not in tokenizer.stop_tokens])


def test_a_session_reuses_what_is_in_the_cache(model: OpenedModel) -> None:
    first, second = held_out_prompts(2)
    session = model.session(policy=model.policy(DRAFT_LENGTH))
    answers = [session.answer(turn, MAX_NEW_TOKENS) for turn in (first, second)]
    assert answers[0].reused_tokens == 0
    assert answers[1].reused_tokens >= answers[0].context_tokens - DRAFT_LENGTH
    rendered = model.template.render(session.messages[:-1])
    prompt = model.tokenizer.encode_prompt(rendered)
    assert list(session.committed[: len(prompt)]) == prompt


def test_a_system_prompt(model: OpenedModel, bundle: Path) -> None:
    history = (Message("system", "Answer in one sentence."),)
    chat = Conversation((held_out_prompts(1)[0],), history)
    settings = EngineSettings(bundle, False, MAX_NEW_TOKENS, threads=2)
    ours = run_reference(model, RunSettings(0, MAX_NEW_TOKENS), [chat])
    assert ours.texts == run_engine(settings, [chat]).texts


def test_sampling_under_mtp(model: OpenedModel) -> None:
    chat = [Conversation.asking(held_out_prompts(1)[0])]

    def sampled(seed: int) -> str:
        sampling = SamplingSettings(temperature=6.0, seed=seed)
        run = run_reference(model, RunSettings(DRAFT_LENGTH, 40, sampling), chat)
        assert sum(run.acceptance.drafted) > 0
        return run.texts[0]

    assert sampled(1) == sampled(1)
    assert len({sampled(seed) for seed in range(1, 5)}) > 1


def test_a_padded_prefill_at_the_end_of_the_context(short_bundle: Path, model: OpenedModel) -> None:
    """The second turn, padded to a prefill length, sticks out past the end of the short cache."""
    first, second = held_out_prompts(2)
    filler = " ".join([first] * 64)
    length = len(model.tokenizer.encode(filler))
    turns = (filler[: len(filler) * (SHORT_CACHE - 100) // length], second)
    settings = RunSettings(0, 16)
    with open_model(short_bundle, HARDWARE) as short:
        cut = run_reference(short, settings, [Conversation(turns)])
    assert cut.replies[0][1].context_tokens > SHORT_CACHE - 128
    assert cut.texts == run_reference(model, settings, [Conversation(turns)]).texts


def test_the_end_of_the_context(short_bundle: Path) -> None:
    prompt = held_out_prompts(1)[0]
    with open_model(short_bundle, HARDWARE) as short:
        answers = []
        for drafts in (0, DRAFT_LENGTH):
            session = short.session(policy=short.policy(drafts), context_length=40)
            answers.append(session.answer(prompt, 500))
        assert answers[0].tokens == answers[1].tokens
        assert answers[0].finish in (Finish.CONTEXT, Finish.STOP)
        with pytest.raises(ContextFullError):
            short.session(context_length=40).answer(prompt * 8, 10)


@pytest.mark.parametrize(
    ("tokens", "chunks"),
    [
        (0, []),
        (5, [(128, 5)]),
        (128, [(128, 128)]),
        (300, [(1024, 300)]),
        (1024, [(1024, 1024)]),
        (2100, [(1024, 1024), (1024, 1024), (128, 52)]),
    ],
)
def test_prefill_chunks(tokens: int, chunks: list[tuple[int, int]]) -> None:
    assert list(prefill_chunks(tokens, (128, 1024))) == [Chunk(*chunk) for chunk in chunks]


def test_sections_are_mapped(model: OpenedModel) -> None:
    assert model.executor.mapped == can_map()


def test_opening_many_times(bundle: Path) -> None:
    """Nothing dangles when a model is closed, and closing twice is harmless."""
    prompt, texts = held_out_prompts(1)[0], set()
    for _ in range(4):
        with open_model(bundle, HARDWARE) as opened:
            session = opened.session(policy=opened.policy(DRAFT_LENGTH))
            texts.add(session.answer(prompt, 8).text)
        opened.executor.close()
    assert len(texts) == 1


def test_two_sessions_do_not_disturb_each_other(model: OpenedModel) -> None:
    first, second = held_out_prompts(2)
    alone = [model.session().answer(turn, 20).text for turn in (first, second)]
    one, other = model.session(), model.session()
    pieces = one.ask(first, 20)
    text = next(pieces)
    assert other.answer(second, 20).text == alone[1]
    assert text + "".join(pieces) == alone[0]


def test_a_bundle_without_drafter(plain_bundle: Path) -> None:
    with open_model(plain_bundle, HARDWARE, drafting=False) as opened:
        assert opened.executor.draft_length == 0
        assert opened.session(policy=opened.policy("auto")).answer("x", 4).text is not None
    with pytest.raises(BundleError, match="no drafter"), open_model(plain_bundle, HARDWARE):
        pass


def test_an_input_that_litert_does_not_take(model: OpenedModel) -> None:
    decode = model.executor.signatures[DECODE]
    with pytest.raises(
        EngineError, match="tf_lite_prefill_decode: embeddings takes 128 values, found 65536"
    ):
        decode.write(EMBEDDINGS, np.zeros(1 << 16, np.float32))
