"""Measure a bundle beside litert-torch's own export of the same target, in one run.

    python scripts/compare_litert_torch.py export e2b-short/target --peer-python peer/bin/python --output made
    python scripts/compare_litert_torch.py run made/ours.litertlm made/theirs/model.litertlm
    python scripts/compare_litert_torch.py calls made/ours.litertlm made/theirs/model.litertlm

`export` makes both files. `run` answers two prompts, cut from a text, in the stock engine: without a
weight cache, with an empty one in a file, and with that file filled. Every run is a process of its own,
one at a time, and the order of the sides turns round after each round; ratios are taken within a round.
`calls` runs the graphs themselves, by CPU time in one process (scripts/speed/clocks.py), which minds
other jobs least. The bundles themselves are in the system's file cache in all cases.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import click
from speed.clocks import alternate, load
from speed.litert import LitertFile
from speed.rounds import MEGABYTES, Figures, memory_figures, table, take_turns

from exporter.bundle.reader import Bundle, open_bundle
from exporter.contract.names import Section
from runtime_py.bench.memory import children_watched
from runtime_py.chat.conversation import Conversation
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.litert.hardware import cpu_options
from runtime_py.reply import Reply

OURS, THEIRS = SIDES = ("mtp-export", "litert-torch")
NONE, COLD, WARM = CACHES = ("no weight cache", "cold", "warm")
THEIR_MODULE = "litert_torch.generative.export_hf"
THEIR_FILE = "model.litertlm"
TEXT = Path(__file__).parent.parent / "README.md"
CACHE_LENGTH, PREFILL_LENGTHS = 4096, "128,1024"

KIB = 1024


@click.group()
def main() -> None:
    """Compare with litert-torch."""


@main.command()
@click.argument("ours", type=click.Path(path_type=Path, exists=True))
@click.argument("theirs", type=click.Path(path_type=Path, exists=True), required=False)
@click.option(
    "--text",
    type=click.Path(path_type=Path, exists=True),
    default=TEXT,
    help="What prompts are cut from.  [default: README.md]",
)
@click.option("--characters", default="90,700", show_default=True, help="Lengths of the prompts.")
@click.option("--max-new-tokens", default=33, show_default=True, help="Length of each answer.")
@click.option(
    "--rounds", default=3, show_default=True, help="How often each side answers all prompts."
)
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
@click.option("--mtp", is_flag=True, help="Speculative decoding on for ours.")
def run(
    ours: Path,
    theirs: Path | None,
    text: Path,
    characters: str,
    max_new_tokens: int,
    rounds: int,
    threads: int,
    mtp: bool,
) -> None:
    """Run OURS, and THEIRS if given, in the stock engine."""
    words = " ".join(text.read_text(encoding="utf-8").split())
    prompts = [words[: int(count)] for count in characters.split(",")]
    plans = {OURS: SidePlan(ours, mtp, prompts, max_new_tokens, threads)}
    if theirs is not None:
        plans[THEIRS] = SidePlan(theirs, False, prompts, max_new_tokens, threads)
    sides = {side: plan.measured for side, plan in plans.items()}
    click.echo(table(take_turns(sides, rounds, equal_texts=not mtp), below=THEIRS))


@dataclass(frozen=True)
class SidePlan:
    """What one side does in a round."""

    bundle: Path
    mtp: bool
    prompts: Sequence[str]
    max_new_tokens: int
    threads: int

    def measured(self) -> tuple[Sequence[str], Figures]:
        """The answers, and the figures for every kind of weight cache."""
        figures: Figures = {"file, MB": self.bundle.stat().st_size * MEGABYTES}
        with tempfile.TemporaryDirectory(dir=self.bundle.parent) as folder:
            for cache in CACHES:
                kept = None if cache == NONE else Path(folder)
                answers, of_cache = self.answered(kept)
                figures |= {f"{name}, {cache}": value for name, value in of_cache.items()}
            packed = sum(file.stat().st_size for file in Path(folder).iterdir())
        figures["weight cache's files, MB"] = packed * MEGABYTES
        return answers, figures

    def answered(self, weight_cache: Path | None) -> tuple[tuple[str, ...], Figures]:
        """All prompts in one process; each has an empty KV cache."""
        settings = EngineSettings(
            self.bundle,
            self.mtp,
            self.max_new_tokens,
            threads=self.threads,
            max_num_tokens=CACHE_LENGTH,
            weight_cache=weight_cache,
        )
        chunks: list[float] = []
        begun = time.perf_counter()
        with children_watched() as memory:
            done = run_engine(
                settings,
                [Conversation.asking(prompt) for prompt in self.prompts],
                lambda _: chunks.append(time.perf_counter()),
            )
        replies = [reply for conversation in done.replies for reply in conversation]
        figures = {
            "process start to first token, s": chunks[0] - begun,
            "prompt to first token, s": replies[0].time_to_first_token,
            **memory_figures(memory),
            **{_prefill(reply): reply.prefill_tokens_per_second for reply in replies},
            "decode, tokens/s": done.tokens_per_second,
        }
        return tuple(done.texts), figures


def _prefill(reply: Reply) -> str:
    return f"prefill of {reply.prefill_tokens}, tokens/s"


@main.command()
@click.argument("ours", type=click.Path(path_type=Path, exists=True))
@click.argument("theirs", type=click.Path(path_type=Path, exists=True))
@click.option("--calls", "count", default=20, show_default=True, help="Timed calls of each side.")
def calls(ours: Path, theirs: Path, count: int) -> None:
    """Time the calls that both graphs have, one thread, in one process."""
    with ExitStack() as stack:
        files = {
            side: stack.enter_context(closing(target_of(open_bundle(path))))
            for side, path in zip(SIDES, (ours, theirs), strict=True)
        }
        signatures = [set(file.model.signatures) for file in files.values()]
        click.echo(f"CPU time, 1 thread, {count} calls, {load()}")
        for name in sorted(set.intersection(*signatures)):
            costs = alternate({side: file.call(name) for side, file in files.items()}, count)
            for side, cost in costs.items():
                ratio, own = cost.cpu / costs[THEIRS].cpu, 1e3
                spread = f"{cost.low * own:.1f} to {cost.high * own:.1f}"
                click.echo(f"{name:13} {side:13} {cost.cpu * own:8.1f} ms ({spread})  {ratio:.3f}")


def target_of(bundle: Bundle) -> LitertFile:
    """The target's section of either bundle."""
    return LitertFile.section(bundle, Section.PREFILL_DECODE, cpu_options(threads=1))


@main.command()
@click.argument("target", type=click.Path(path_type=Path, exists=True))
@click.option("--peer-python", required=True, help="Python of an environment with litert-torch.")
@click.option("--recipe", default="int8", show_default=True, help="Of our export.")
@click.option(
    "--peer-recipe",
    default="dynamic_wi8_afp32",
    show_default=True,
    help="Of litert-torch's export.",
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder for files.")
def export(target: Path, peer_python: str, recipe: str, peer_recipe: str, output: Path) -> None:
    """Export TARGET with both tools: time and memory. Ours goes twice, for the graph that it keeps."""
    output.mkdir(parents=True, exist_ok=True)
    made = output / "ours.litertlm"
    our_export = [sys.executable, "-m", "exporter.cli.main", "export", str(target), "--force"]
    our_export += ["--no-drafter", "--recipe", recipe, "--output", str(made)]
    our_export += ["--prefill-lengths", PREFILL_LENGTHS, "--cache-length", str(CACHE_LENGTH)]
    their_export = [peer_python, "-m", THEIR_MODULE, f"--model={target}"]
    their_export += [f"--output_dir={output / 'theirs'}", "--externalize_embedder=True"]
    their_export += [f"--prefill_lengths=[{PREFILL_LENGTHS}]", f"--cache_length={CACHE_LENGTH}"]
    their_export += [f"--quantization_recipe={peer_recipe}"]
    click.echo("| | s | CPU s | peak memory of the largest process, MB | file, MB |")
    click.echo("|---|---|---|---|---|")
    click.echo(_spent(f"{OURS}, graph lowered", [*our_export, "--fresh-graphs"], made))
    click.echo(_spent(f"{OURS}, graph kept", our_export, made))
    click.echo(_spent(THEIRS, their_export, output / "theirs" / THEIR_FILE))


def _spent(name: str, command: list[str], made: Path) -> str:
    """Run an exporter; what it and the processes it started took, as a row of the table."""
    begun = time.perf_counter()
    child = subprocess.Popen(command, stdout=sys.stderr)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise click.ClickException(f"status {child.returncode} from {' '.join(command)}")
    seconds, cpu = time.perf_counter() - begun, usage.ru_utime + usage.ru_stime
    peak, size = usage.ru_maxrss * KIB * MEGABYTES, made.stat().st_size * MEGABYTES
    return f"| {name} | {seconds:.0f} | {cpu:.0f} | {peak:.0f} | {size:.0f} |"


if __name__ == "__main__":
    main()
