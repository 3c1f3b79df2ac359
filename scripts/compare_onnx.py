"""Measure a bundle on LiteRT and the folder of the same export on ONNX Runtime, in one run.

    python scripts/compare_onnx.py OUT.litertlm OUT-onnx --prompts prompts.txt --rounds 3

In each round either runtime answers all prompts in a process of its own, one process at a time, and
the order turns round after each round; so a busy machine slows both. Given are the medians over the
rounds, ratios taken within a round. Processor time, of all threads, the prompt included, minds other
jobs least. Both runtimes run the same loop of this project in Python, with as many drafts a round as
`verify` takes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import click
from speed.rounds import Figures, memory_figures, table, take_turns

from exporter.verify.texts import read_prompts
from runtime_py.bench.costs import Work, measure_costs
from runtime_py.bench.memory import children_watched
from runtime_py.chat.conversation import Conversation
from runtime_py.litert.hardware import Hardware
from runtime_py.opened_model import Opened, open_model
from runtime_py.reference_run import RunSettings, run_reference

LITERT, ONNX = "LiteRT", "ONNX Runtime"
TIMED_ROUNDS = 12
"""Decodes, drafts and verifies that are timed one by one, in each process."""
PREFILLS = 2
LARGEST_PREFILL = 128

MILLISECONDS = 1e3


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--prompts",
    type=click.Path(path_type=Path),
    help="Prompts, one a line.  [default: a few built-in sentences]",
)
@click.option("--max-new-tokens", default=33, show_default=True, help="Length of each answer.")
@click.option(
    "--rounds", default=3, show_default=True, help="How often each side answers all prompts."
)
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
def main(
    bundle: Path, folder: Path, prompts: Path | None, max_new_tokens: int, rounds: int, threads: int
) -> None:
    """Print a table; texts must be equal."""
    asked = list(read_prompts(prompts))
    sides = {
        side: partial(measured, [side, str(path), asked, max_new_tokens, threads])
        for side, path in ((LITERT, bundle), (ONNX, folder))
    }
    click.echo(table(take_turns(sides, rounds), below=LITERT))


def measured(request: list[Any]) -> tuple[list[str], Figures]:
    """One side, once, in a process of its own."""
    command = [sys.executable, __file__, "--worker"]
    with children_watched() as memory:
        done = subprocess.run(
            command, input=json.dumps(request), stdout=subprocess.PIPE, text=True, check=True
        )
    texts, figures = json.loads(done.stdout.splitlines()[-1])
    return texts, figures | memory_figures(memory)


def work(side: str, path: str, prompts: list[str], new: int, threads: int) -> None:
    """The measuring process: the result is the last line of stdout."""
    begun = time.perf_counter()
    if side == LITERT:
        opening: Any = open_model(Path(path), Hardware(threads=threads))
    else:
        from runtime_py.onnx.model import open_onnx_model

        opening = open_onnx_model(Path(path), threads)
    with opening as model:
        figures = {"open, s": time.perf_counter() - begun, **calls(model, prompts)}
        texts = []
        for mode, drafts in (("off", 0), ("on", model.executor.draft_length)):
            asked = [Conversation.asking(prompt) for prompt in prompts]
            busy = time.process_time()
            run = run_reference(model, RunSettings(drafts, new), asked)
            busy = time.process_time() - busy
            figures[f"tokens/s, MTP {mode}"] = run.tokens_per_second
            figures[f"processor time a token, MTP {mode}, ms"] = (
                busy / run.decode_tokens * MILLISECONDS
            )
            texts += run.texts
    print(json.dumps([texts, figures]), flush=True)


def calls(model: Opened[Any], prompts: list[str]) -> Figures:
    """Single calls: the lower quartile, since other jobs only ever make a call slower."""
    agreed = model.executor.contract
    tokens = tuple(model.tokenizer.encode_prompt("\n".join(prompts)))[:64]
    lengths = tuple(length for length in agreed.prefill_lengths if length <= LARGEST_PREFILL)
    costs = measure_costs(model.executor, Work(tokens, lengths, TIMED_ROUNDS, PREFILLS))
    prefills = {f"prefill_{n}, ms": costs.prefill[n].low * MILLISECONDS for n in lengths}
    assert costs.verify is not None
    assert costs.draft is not None
    return {
        **prefills,
        "decode, ms": costs.decode.low * MILLISECONDS,
        f"verify ({agreed.draft_length + 1} tokens), ms": costs.verify.low * MILLISECONDS,
        "one draft, ms": costs.draft.low * MILLISECONDS,
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        work(*json.load(sys.stdin))
    else:
        main()
