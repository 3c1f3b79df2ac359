"""What the stock engine answers to prompts with pictures: ``python engine_replies.py BUNDLE on|off``.

In a process of its own. On stdin a JSON list of conversations, each a list of turns; the user's, at even
places, are prompts as for ``reference_replies.py``, the others the model's texts. The last turn is answered.
Replies go to stdout as the last line, because the engine writes to it, too.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import litert_lm

MOST_TOKENS = 32


def main(bundle: str, mtp: str) -> None:
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    conversations = json.load(sys.stdin)
    cpu = litert_lm.Backend.CPU(thread_count=2)
    with litert_lm.Engine(
        bundle,
        cpu,
        max_num_tokens=1024,
        cache_dir=":nocache",
        vision_backend=cpu,
        max_num_images=4,
        enable_speculative_decoding=mtp == "on",
    ) as engine:
        replies = [reply(engine, conversation) for conversation in conversations]
    print("\n" + json.dumps(replies))


def reply(engine: Any, turns: list[Any]) -> str:
    *history, asked = [_message(turn, number) for number, turn in enumerate(turns)]
    with engine.create_conversation(
        messages=history or None,
        sampler_config=litert_lm.SamplerConfig(top_k=1, top_p=1.0, temperature=1.0, seed=0),
        max_output_tokens=MOST_TOKENS,
    ) as chat:
        return "".join(str(piece) for piece in chat.send_message_async(asked))


def _message(turn: Any, number: int) -> dict[str, Any]:
    if number % 2:
        return {"role": "assistant", "content": turn}
    return {"role": "user", "content": [_item(part) for part in turn]}


def _item(part: Any) -> dict[str, str]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image", "path": part["image"]}


if __name__ == "__main__":
    main(*sys.argv[1:])
