"""The child process of ``bench``: the reference runtime answers or measures its calls, then exits.

A process of its own makes memory and load time comparable with the stock engine's. One JSON request on
stdin, one JSON result on stdout.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from exporter.contract import Accelerator
from exporter.errors import MtpExportError
from runtime_py.bench.costs import Work, measure_costs
from runtime_py.litert.graph import Hardware
from runtime_py.litert.native_log import silence_native_exit
from runtime_py.loop.rounds import Acceptance, Round
from runtime_py.opened_model import OpenedModel, open_model

COST_ROUNDS = 24
"""Rounds that are timed of each kind."""
PREFILLS = 3
"""Prefills that are timed of each length."""


def main() -> None:
    """Answer the request on stdin."""
    silence_native_exit()
    request = json.load(sys.stdin)
    try:
        result = _run(request)
    except MtpExportError as error:
        result = {"error": str(error)}
    print(json.dumps(result), flush=True)


def _run(request: dict[str, Any]) -> dict[str, Any]:
    begun = time.perf_counter()
    hardware = Hardware(Accelerator(request["accelerator"]), request["threads"])
    with open_model(Path(request["bundle"]), hardware, drafting=request["drafting"]) as model:
        loaded = time.perf_counter() - begun
        work = _costs if request["work"] == "costs" else _answers
        return {"load_seconds": loaded, **work(model, request)}


def _costs(model: OpenedModel, request: dict[str, Any]) -> dict[str, Any]:
    tokens = tuple(model.tokenizer.encode_prompt("\n".join(request["prompts"])))
    executor = model.executor
    lengths = executor.contract.prefill_lengths

    def look_up(token: int) -> None:
        executor.embed(token)
        executor.embed_per_layer(token)

    fitting = tuple(length for length in sorted(lengths) if length <= executor.cache_length)
    work = Work(tokens, fitting, COST_ROUNDS, PREFILLS)
    return {"costs": asdict(measure_costs(executor, work, look_up))}


def _answers(model: OpenedModel, request: dict[str, Any]) -> dict[str, Any]:
    """Answer each prompt in a session of its own.

    Decoding is timed by the wall, everything around the calls included: all of the answer but its
    prefill.
    """
    texts: list[str] = []
    rounds: list[Round] = []
    tokens, seconds = 0, 0.0
    for prompt in request["prompts"]:
        session = model.session(policy=model.policy(model.executor.draft_length))
        begun = time.perf_counter()
        answer = session.answer(prompt, request["max_new_tokens"])
        seconds += time.perf_counter() - begun - answer.prefill_seconds
        tokens += len(answer.tokens)
        texts.append(answer.text)
        rounds += answer.rounds
    return {
        "texts": texts,
        "tokens_per_second": tokens / seconds,
        "acceptance": asdict(Acceptance.of(rounds)),
    }


if __name__ == "__main__":
    main()
