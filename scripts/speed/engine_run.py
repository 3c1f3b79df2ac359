"""One conversation in the stock engine, and what it cost: the child process of ``measure_long_context.py``.

A process of its own, so that its peak of memory and its CPU time are those of the engine. Takes JSON on
stdin and prints JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import litert_lm


def main() -> None:
    """Run what is asked for."""
    asked = json.load(sys.stdin)
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    engine = litert_lm.Engine(
        asked["bundle"],
        litert_lm.Backend.CPU(thread_count=asked["threads"]),
        max_num_tokens=asked["slots"],
        cache_dir=asked["cache"],
        enable_speculative_decoding=asked["mtp"],
        enable_benchmark=True,
    )
    greedy = litert_lm.SamplerConfig(top_k=1)
    with (
        engine,
        engine.create_conversation(sampler_config=greedy, max_output_tokens=asked["new"]) as chat,
    ):
        print(json.dumps(_said(chat, asked["prompt"]) | {"peak": _peak()}))


def _said(chat: Any, prompt: str) -> dict[str, Any]:
    """The reply, and seconds until its first piece arrived."""
    message = {"role": "user", "content": [{"type": "text", "text": prompt}]}
    begun, cpu_begun, text, first = time.perf_counter(), time.process_time(), "", None
    for piece in chat.send_message_async(message):
        if first is None:
            first = time.perf_counter() - begun, time.process_time() - cpu_begun
        text += str(piece)
    info = chat.get_benchmark_info()
    assert first is not None
    return {
        "text": text,
        "first_wall": first[0],
        "first_cpu": first[1],
        "prompt_tokens": info.last_prefill_token_count,
        "tokens_per_second": info.last_decode_tokens_per_second,
    }


def _peak() -> int:
    """Most memory that was resident, in bytes."""
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
