"""The child process of ``bench``: the reference runtime answers or measures its calls, then exits.

A process of its own makes memory and load time comparable with the stock engine's. It gets a pickle of
the plan, the work and whether to draft on stdin, and writes one of what it found to stdout.
"""

from __future__ import annotations

import pickle
import sys
import time
from typing import Any

from exporter.errors import MtpExportError
from runtime_py.bench.comparison import SideRun
from runtime_py.bench.costs import ROUNDS, Costs, Work, measure_costs
from runtime_py.bench.memory import Memory
from runtime_py.bench.run import BenchPlan
from runtime_py.litert.hardware import Hardware
from runtime_py.loop.rounds import Acceptance
from runtime_py.opened_model import OpenedModel, open_model

PREFILLS = 3
"""Prefills that are timed of each length."""


def main() -> None:
    """Do the work that stdin asks for."""
    plan, work, drafting = pickle.load(sys.stdin.buffer)
    try:
        result: Any = _run(plan, work, drafting=drafting)
    except MtpExportError as error:
        result = error
    sys.stdout.buffer.write(pickle.dumps(result))
    sys.stdout.flush()


def _run(plan: BenchPlan, work: str, *, drafting: bool) -> Costs | SideRun:
    begun = time.perf_counter()
    hardware = Hardware(plan.accelerator, plan.threads)
    with open_model(plan.bundle, hardware, drafting=drafting) as model:
        loaded = time.perf_counter() - begun
        return _costs(model, plan) if work == "costs" else _answers(model, plan, loaded)


def _costs(model: OpenedModel, plan: BenchPlan) -> Costs:
    tokens = tuple(model.tokenizer.encode_prompt("\n".join(plan.prompts)))
    executor = model.executor
    lengths = executor.contract.prefill_lengths

    def look_up(token: int) -> None:
        executor.embed(token)
        executor.embed_per_layer(token)

    fitting = tuple(length for length in sorted(lengths) if length <= executor.cache_length)
    return measure_costs(executor, Work(tokens, fitting, ROUNDS, PREFILLS), look_up)


def _answers(model: OpenedModel, plan: BenchPlan, load_seconds: float) -> SideRun:
    """Answer each prompt in a session of its own.

    Decoding is timed by the wall, everything around the calls included: all of the answer but its
    prefill. Memory is measured from outside.
    """
    texts: list[str] = []
    accepted: list[Acceptance] = []
    tokens, seconds, drafts = 0, 0.0, model.executor.draft_length
    for prompt in plan.prompts:
        session = model.session(policy=model.policy(drafts))
        begun = time.perf_counter()
        answer = session.answer(prompt, plan.max_new_tokens)
        seconds += time.perf_counter() - begun - answer.prefill_seconds
        tokens += len(answer.tokens)
        texts.append(answer.text)
        accepted.append(answer.acceptance)
    counts = tuple(accepted) if drafts else ()
    return SideRun(tokens / seconds, load_seconds, Memory(), tuple(texts), counts)


if __name__ == "__main__":
    main()
