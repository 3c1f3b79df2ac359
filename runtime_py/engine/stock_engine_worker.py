"""The child process of ``stock_engine``: a line of JSON on stdin asks, lines on stdout are what comes of it.

In a chat (:mod:`runtime_py.engine.engine_chat`) conversations follow, one a line, each with a turn to be
answered; SIGINT cancels the answer.

The engine writes to file descriptors 1 and 2 as it likes, so the events go to a copy of stdout made
before the engine is loaded, and descriptor 1 is pointed at stderr.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Any

from exporter.pip_install import pip_install
from runtime_py.chat.conversation import ROOM, Conversation, Message, as_message
from runtime_py.chat.media import Medium

TOO_LONG = "Exceeding the maximum number of tokens"
"""What the engine says of a conversation that its cache has no room for."""

NO_CACHE = ":nocache"
"""The engine's word for keeping packed weights in memory only."""


def main() -> None:
    """Answer the request on stdin."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    try:
        finished = _run(request, events)
    except Exception as error:  # whatever it is, the parent reports it
        finished = {"error": str(error) or type(error).__name__}
    _send(events, finished)
    events.close()


def _send(events: IO[str], event: dict[str, Any]) -> None:
    events.write(json.dumps(event) + "\n")
    events.flush()


def _run(request: dict[str, Any], events: IO[str]) -> dict[str, Any]:
    try:
        import litert_lm
    except ImportError as error:
        raise RuntimeError(
            f"litert-lm-api is not installed ({error}); {pip_install('engine')}"
        ) from error
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.INFO)
    conversations = list(map(Conversation.from_json, request["conversations"]))
    with _engine(request) as engine:
        if request["chat"]:
            signal.signal(
                signal.SIGINT, signal.SIG_IGN
            )  # for a moment in which nothing is answered
            return _chat(engine, request, events)
        if request["chat_templates"] is not None:
            asked = zip(conversations, request["chat_templates"], strict=True)
            return {"prompts": [_render(engine, *pair) for pair in asked]}
        replies, init_seconds = [], 0.0
        for conversation in conversations:
            answered, init_seconds = _answer(engine, conversation, request, events)
            replies.append(answered)
    return {"replies": replies, "init_seconds": init_seconds}


def _engine(request: dict[str, Any]) -> AbstractContextManager[Any]:
    """The engine, with what pictures and sounds need.

    Backends for those are named only where there are some: it refuses one whose section a bundle lacks.
    """
    import litert_lm

    cpu = litert_lm.Backend.CPU(thread_count=request["threads"])
    device = litert_lm.Backend.GPU() if request["accelerator"] == "gpu" else cpu
    precision = litert_lm.ActivationDataType.FLOAT32 if request["full_precision"] else None
    engine: AbstractContextManager[Any] = litert_lm.Engine(
        request["bundle"],
        device,
        max_num_tokens=request["max_num_tokens"],
        cache_dir=request["weight_cache"] or NO_CACHE,
        enable_speculative_decoding=request["mtp"],
        enable_benchmark=True,
        activation_data_type=precision,
        vision_backend=device if Medium.IMAGE in request["media"] else None,
        audio_backend=device if Medium.AUDIO in request["media"] else None,
    )
    return engine


def _render(engine: Any, conversation: Conversation, chat_template: str | None) -> str:
    """The prompt of a conversation's first turn; empty if the engine refuses it."""
    with engine.create_conversation(**_begun(conversation), chat_template=chat_template) as chat:
        return str(chat.render_message_to_string(as_message(conversation.turns[0]).to_json()))


def _answer(
    engine: Any, conversation: Conversation, request: dict[str, Any], events: IO[str]
) -> tuple[list[dict[str, Any]], float]:
    replies, init_seconds = [], 0.0
    with _begin(engine, conversation, request) as chat:
        for message in map(as_message, conversation.turns):
            try:
                replies.append(_reply(chat, message, events))
            except RuntimeError as error:
                raise RuntimeError(
                    f"{error}{_advice(error)}; the message begins with {message.beginning!r}"
                ) from error
            _send(events, {"chunk": None})
            init_seconds = chat.get_benchmark_info().init_time_in_second
    return replies, init_seconds


def _advice(error: RuntimeError) -> str:
    """What to do about what the engine says, where that is known."""
    if TOO_LONG not in str(error):
        return ""
    return f": {ROOM}"


def _chat(engine: Any, request: dict[str, Any], events: IO[str]) -> dict[str, Any]:
    """Answer conversations as they come, until there are no more."""
    _send(events, {"ready": True})
    for line in sys.stdin:
        conversation = Conversation.from_json(json.loads(line))
        try:
            with _begin(engine, conversation, request) as chat, _cancelled_by_interrupt(chat):
                reply = _reply(chat, as_message(conversation.turns[0]), events)
            _send(events, {"reply": reply})
        except RuntimeError as error:
            _send(events, {"failed": f"{error}{_advice(error)}"})
    return {"replies": []}


@contextmanager
def _cancelled_by_interrupt(chat: Any) -> Iterator[None]:
    before = signal.signal(signal.SIGINT, lambda *_: chat.cancel_process())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _begin(
    engine: Any, conversation: Conversation, request: dict[str, Any]
) -> AbstractContextManager[Any]:
    """A conversation of the engine's that has heard the history."""
    import litert_lm

    made = engine.create_conversation(
        **_begun(conversation),
        automatic_tool_calling=False,
        sampler_config=litert_lm.SamplerConfig(**request["sampling"]),
        max_output_tokens=request["max_new_tokens"],
    )
    chat: AbstractContextManager[Any] = _budgeted(made, request["image_tokens"])
    return chat


def _reply(chat: Any, message: Message, events: IO[str]) -> dict[str, Any]:
    """The answer to a message and what it took; its text is sent as it comes."""
    text, thought, calls = "", "", list[Any]()
    for piece in chat.send_message_async(message.to_json()):
        text += (chunk := str(piece))
        thought += "".join(piece.channels.values())
        calls += [call.to_json() for call in piece.tool_calls]
        _send(events, {"chunk": chunk})
    info = chat.get_benchmark_info()
    prefill, decode = info.last_prefill_token_count, info.last_decode_token_count
    return {
        "text": text,
        "thought": thought,
        "tool_calls": calls,
        "prefill_tokens": prefill,
        "prefill_seconds": _seconds(prefill, info.last_prefill_tokens_per_second),
        "decode_tokens": decode,
        "decode_seconds": _seconds(decode, info.last_decode_tokens_per_second),
        "time_to_first_token": info.time_to_first_token_in_second,
        "context_tokens": chat.token_count,
    }


def _budgeted(conversation: Any, image_tokens: int | None) -> Any:
    """The conversation, with a budget for each picture if there is one."""
    if image_tokens is None:
        return conversation
    from runtime_py.engine.budgeted_conversation import BudgetedConversation

    return BudgetedConversation(conversation, image_tokens)


def _seconds(count: int, per_second: float) -> float:
    """What so many tokens took; 0 where the engine has measured nothing."""
    return count / per_second if per_second > 0 else 0.0


def _tool(declared: Any) -> Any:
    """A tool that the engine only declares to the model."""
    import litert_lm

    class Declared(litert_lm.Tool):  # type: ignore[misc]
        def get_tool_description(self) -> Any:
            return declared

        def execute(self, param: Any) -> Any:
            raise NotImplementedError("whoever asked runs the tool")

    return Declared()


def _begun(conversation: Conversation) -> dict[str, Any]:
    """What a conversation begins with, in the engine's terms."""
    setting = conversation.setting
    thinking = None if setting.thinking is None else {"enable_thinking": setting.thinking}
    return {
        "messages": [message.to_json() for message in conversation.history] or None,
        "tools": [_tool(declared) for declared in setting.tools] or None,
        "extra_context": thinking,
    }


if __name__ == "__main__":
    main()
