"""Measure adaptive drafting beside always and never drafting, on a bundle and prompts of your own.

    python scripts/compare_drafting.py OUT.litertlm --prompts prompts.txt --rounds 6

`auto` has its drafts from the drafter, `lookup` from the context, `both` from what pays. --prompts may be
given several times: each file is a workload with figures of its own.

One process, one opened model, the reference runtime. In each round every side answers all prompts, and the
order turns round after each round; adaptive drafting begins each round knowing nothing. Seconds are those
of rounds: drafting, verifying, decoding. Ratios are taken within a round, then the median. On a busy
machine count --cpu-time, with one thread; adaptive drafting then decides by it, too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import click
from speed.clocks import load

from exporter.verify.texts import read_prompts
from runtime_py.chat.conversation import Conversation
from runtime_py.litert.hardware import Hardware
from runtime_py.loop.rounds import Acceptance, Source
from runtime_py.loop.speculative import Clock
from runtime_py.opened_model import AUTO, OpenedModel, open_model
from runtime_py.reference_run import RunSettings, run_reference

NEVER, ALWAYS, LOOKUP, BOTH = "never", "always", "lookup", "both"


def sides(longest: int, tokens: int, clock: Clock) -> dict[str, RunSettings]:
    """What is compared; rounds have at most ``longest`` drafts, answers ``tokens`` tokens."""
    auto = RunSettings(AUTO, tokens, clock=clock)
    return {
        NEVER: replace(auto, drafts=0),
        ALWAYS: replace(auto, drafts=longest),
        AUTO: auto,
        LOOKUP: replace(auto, sources=frozenset({Source.LOOKUP})),
        BOTH: replace(auto, sources=frozenset(Source)),
    }


@dataclass(frozen=True)
class Run:
    """Seconds of decoding by prompt, and what became of drafts in all."""

    seconds: tuple[float, ...]
    tokens: int
    drafter: Acceptance
    lookup: Acceptance

    @property
    def rate(self) -> float:
        """Tokens a second over all prompts."""
        return self.tokens / sum(self.seconds)

    def drafts(self) -> str:
        """Of each source: how many drafts, and the share that was accepted."""
        sources = ((Source.DRAFTER, self.drafter), (Source.LOOKUP, self.lookup))
        told = (
            f", {sum(found.drafted)} from {source}, {found.rate:.2f} accepted"
            for source, found in sources
            if found.rate is not None
        )
        return "".join(told)


def run(model: OpenedModel, settings: RunSettings, prompts: list[Conversation]) -> Run:
    """All prompts, one after the other; what was learnt before is forgotten."""
    model.learnt.clear()
    found = run_reference(model, settings, prompts)
    seconds = tuple(reply.decode_seconds for (reply,) in found.replies)
    return Run(seconds, found.decode_tokens, found.acceptance, found.lookup_acceptance)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--prompts",
    "prompt_files",
    type=click.Path(path_type=Path),
    required=True,
    multiple=True,
    help="Prompts, one a line; may be given several times.",
)
@click.option("--new-tokens", default=128, show_default=True, help="Length of each answer.")
@click.option(
    "--rounds", default=6, show_default=True, help="How often each side answers all prompts."
)
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
@click.option("--cpu-time", is_flag=True, help="Count CPU seconds of the process.")
def main(
    bundle: Path,
    prompt_files: tuple[Path, ...],
    new_tokens: int,
    rounds: int,
    threads: int,
    cpu_time: bool,
) -> None:
    """Compare on BUNDLE: never, always, auto, lookup, both."""
    with open_model(bundle, Hardware(threads=threads)) as model:
        clock = time.process_time if cpu_time else time.perf_counter
        compared = sides(model.executor.draft_length, new_tokens, clock)
        for file in prompt_files:
            prompts = [Conversation.asking(prompt) for prompt in read_prompts(file)]
            for settings in compared.values():
                run(model, replace(settings, max_new_tokens=16), prompts[:1])  # allocates
            found: dict[str, list[Run]] = {name: [] for name in compared}
            for number in range(rounds):
                for name in list(compared)[:: 1 if number % 2 else -1]:
                    found[name].append(run(model, compared[name], prompts))
                    click.echo(f"{name}: {found[name][-1].rate:.1f} tokens/s", err=True)
            click.echo(
                f"{file}: {len(prompts)} prompts, {new_tokens} tokens, {rounds} rounds; {load()}"
            )
            for name, runs in found.items():
                rate = median(one.rate for one in runs)
                click.echo(f"{name:7} {rate:6.1f} tokens/s{runs[-1].drafts()}")
            _compare(found)


def _compare(found: dict[str, list[Run]]) -> None:
    """Each adaptive side against the others on all prompts, and auto on each prompt."""
    for name, others in (
        (AUTO, (NEVER, ALWAYS)),
        (LOOKUP, (NEVER,)),
        (BOTH, (NEVER, ALWAYS, AUTO)),
    ):
        for other in others:
            pairs = zip(found[name], found[other], strict=True)
            ratios = sorted(one.rate / two.rate for one, two in pairs)
            low, high = ratios[0], ratios[-1]
            click.echo(f"{name} / {other}: {median(ratios):.2f} ({low:.2f} to {high:.2f})")
    for prompt in range(len(found[NEVER][0].seconds)):
        never, always, auto, both = (
            median(one.seconds[prompt] for one in found[name])
            for name in (NEVER, ALWAYS, AUTO, BOTH)
        )
        click.echo(
            f"  prompt {prompt + 1}: always / never {never / always:.2f}, "
            f"auto / the better of them {min(never, always) / auto:.2f}, both / auto {auto / both:.2f}"
        )


if __name__ == "__main__":
    main()
