"""The child process of ``stock_engine``: one request on stdin, JSON events on stdout.

The engine writes to file descriptors 1 and 2 as it likes, so the events go to a copy of stdout made
before the engine is loaded, and descriptor 1 is pointed at stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import IO, Any

from exporter.pip_install import pip_install
from runtime_py.chat.conversation import Conversation, as_message
from runtime_py.chat.media import Medium, used_media

NO_CACHE = ":nocache"
"""The engine's word for keeping packed weights in memory only."""


def main() -> None:
    """Answer the request on stdin."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
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
    with _engine(request, conversations) as engine:
        if request["chat_templates"] is not None:
            asked = zip(conversations, request["chat_templates"], strict=True)
            return {"prompts": [_render(engine, *pair) for pair in asked]}
        replies, init_seconds = [], 0.0
        for conversation in conversations:
            answered, init_seconds = _answer(engine, conversation, request, events)
            replies.append(answered)
    return {"replies": replies, "init_seconds": init_seconds}


def _engine(
    request: dict[str, Any], conversations: Sequence[Conversation]
) -> AbstractContextManager[Any]:
    """The engine, with what the conversations' pictures and sounds need.

    Backends for those are named only where there are some: it refuses one whose section a bundle lacks.
    """
    import litert_lm

    cpu = litert_lm.Backend.CPU(thread_count=request["threads"])
    device = litert_lm.Backend.GPU() if request["accelerator"] == "gpu" else cpu
    precision = litert_lm.ActivationDataType.FLOAT32 if request["full_precision"] else None
    media = frozenset[Medium]() if request["chat_templates"] else used_media(conversations)
    engine: AbstractContextManager[Any] = litert_lm.Engine(
        request["bundle"],
        device,
        max_num_tokens=request["max_num_tokens"],
        cache_dir=request["weight_cache"] or NO_CACHE,
        enable_speculative_decoding=request["mtp"],
        enable_benchmark=True,
        activation_data_type=precision,
        vision_backend=device if Medium.IMAGE in media else None,
        audio_backend=device if Medium.AUDIO in media else None,
    )
    return engine


def _render(engine: Any, conversation: Conversation, chat_template: str | None) -> str:
    """The prompt of a conversation's first turn; empty if the engine refuses it."""
    with engine.create_conversation(**_begun(conversation), chat_template=chat_template) as chat:
        return str(chat.render_message_to_string(as_message(conversation.turns[0]).to_json()))


def _answer(
    engine: Any, conversation: Conversation, request: dict[str, Any], events: IO[str]
) -> tuple[list[dict[str, Any]], float]:
    import litert_lm

    replies, init_seconds = [], 0.0
    made = engine.create_conversation(
        **_begun(conversation),
        automatic_tool_calling=False,
        sampler_config=litert_lm.SamplerConfig(**request["sampling"]),
        max_output_tokens=request["max_new_tokens"],
    )
    with _budgeted(made, request["image_tokens"]) as chat:
        for turn in conversation.turns:
            text, thought, calls = "", "", list[Any]()
            for piece in chat.send_message_async(as_message(turn).to_json()):
                text += (chunk := str(piece))
                thought += "".join(piece.channels.values())
                calls += [call.to_json() for call in piece.tool_calls]
                _send(events, {"chunk": chunk})
            _send(events, {"chunk": "\n"})
            info = chat.get_benchmark_info()
            init_seconds = info.init_time_in_second
            replies.append(
                {
                    "text": text,
                    "thought": thought,
                    "tool_calls": calls,
                    "prefill_tokens": info.last_prefill_token_count,
                    "prefill_seconds": _seconds(
                        info.last_prefill_token_count, info.last_prefill_tokens_per_second
                    ),
                    "decode_tokens": info.last_decode_token_count,
                    "decode_seconds": _seconds(
                        info.last_decode_token_count, info.last_decode_tokens_per_second
                    ),
                    "time_to_first_token": info.time_to_first_token_in_second,
                    "context_tokens": chat.token_count,
                }
            )
    return replies, init_seconds


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
