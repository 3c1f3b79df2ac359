"""Measure adaptive drafting beside always and never drafting, on a bundle and prompts of your own.

    python scripts/compare_drafting.py OUT.litertlm --prompts prompts.txt --rounds 6

One process, one opened model, the reference runtime. In each round every side answers all prompts, and the
order turns round after each round; adaptive drafting begins each round knowing nothing. The clock runs
from the end of a prefill to the end of the answer. Ratios are taken within a round, then the median.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
from speed.clocks import load

from exporter.verify.texts import read_prompts
from runtime_py.chat.conversation import Conversation
from runtime_py.litert.hardware import Hardware
from runtime_py.opened_model import AUTO, DraftLength, OpenedModel, open_model
from runtime_py.reference_run import RunSettings, run_reference

NEVER, ALWAYS = "never", "always"


@dataclass(frozen=True)
class Run:
    """Seconds of decoding by prompt, and the share of drafts accepted in all."""

    seconds: tuple[float, ...]
    tokens: int
    accepted: float | None

    @property
    def rate(self) -> float:
        """Tokens a second over all prompts."""
        return self.tokens / sum(self.seconds)


def run(model: OpenedModel, drafts: DraftLength, prompts: list[Conversation], tokens: int) -> Run:
    """All prompts, one after the other; what was learnt before is forgotten."""
    model.learnt.clear()
    found = run_reference(model, RunSettings(drafts, tokens), prompts)
    replies = [reply for (reply,) in found.replies]
    seconds = tuple(reply.decode_seconds for reply in replies)
    return Run(seconds, sum(reply.decode_tokens for reply in replies), found.success_rate)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--prompts",
    "prompt_file",
    type=click.Path(path_type=Path),
    required=True,
    help="Prompts, one a line.",
)
@click.option("--new-tokens", default=128, show_default=True, help="Length of each answer.")
@click.option(
    "--rounds", default=6, show_default=True, help="How often each side answers all prompts."
)
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
def main(bundle: Path, prompt_file: Path, new_tokens: int, rounds: int, threads: int) -> None:
    """Compare on BUNDLE: never, always, auto."""
    prompts = [Conversation.asking(prompt) for prompt in read_prompts(prompt_file)]
    found: dict[str, list[Run]] = {NEVER: [], ALWAYS: [], AUTO: []}
    with open_model(bundle, Hardware(threads=threads)) as model:
        sides: dict[str, DraftLength] = {
            NEVER: 0, ALWAYS: model.executor.draft_length, AUTO: AUTO
        }  # fmt: skip
        for drafts in sides.values():
            run(model, drafts, prompts[:1], 16)  # allocates
        for number in range(rounds):
            for name in list(sides)[:: 1 if number % 2 else -1]:
                found[name].append(run(model, sides[name], prompts, new_tokens))
                click.echo(f"{name}: {found[name][-1].rate:.1f} tokens/s", err=True)
    click.echo(f"{len(prompts)} prompts, {new_tokens} tokens each, {rounds} rounds; {load()}")
    for name, runs in found.items():
        accepted = runs[-1].accepted
        said = "" if accepted is None else f", {accepted:.2f} of drafts accepted"
        click.echo(f"{name:7} {median(one.rate for one in runs):6.1f} tokens/s{said}")
    _compare(found)


def _compare(found: dict[str, list[Run]]) -> None:
    """Against the other two on all prompts, and against the better of them on each prompt."""
    rounds = list(zip(found[NEVER], found[ALWAYS], found[AUTO], strict=True))
    for name, index in ((NEVER, 0), (ALWAYS, 1)):
        ratios = sorted(both[2].rate / both[index].rate for both in rounds)
        click.echo(f"auto / {name}: {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    for prompt in range(len(rounds[0][0].seconds)):
        never, always, auto = (
            median(one[side].seconds[prompt] for one in rounds) for side in range(3)
        )
        click.echo(
            f"  prompt {prompt + 1}: always / never {never / always:.2f}, "
            f"auto / the better of them {min(never, always) / auto:.2f}"
        )


if __name__ == "__main__":
    main()
