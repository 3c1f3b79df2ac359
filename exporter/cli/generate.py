"""``mtp-export generate``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.cli.runtimes import RUNTIMES, DraftLengthType, GenerateRequest, check_accelerator
from exporter.cli.strict_command import StrictCommand
from exporter.contract.names import Accelerator
from exporter.errors import ParityError

if TYPE_CHECKING:
    from exporter.contract.text import Contract
    from runtime_py.loop.sampling import SamplingSettings
    from runtime_py.reply import Reply, RunResult
    from runtime_py.same_text import ReplyLimits

DEFAULT_NEW_TOKENS = 256
STOCK = "litert-lm"
"""The runtime that is not ours."""


@click.command(cls=StrictCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "-p", "--prompt", "prompts", multiple=True, help="What to ask; may be given several times."
)
@click.option(
    "--prompts",
    "prompt_file",
    type=click.Path(path_type=Path),
    help="A file of prompts, one a line.",
)
@click.option(
    "--chat-file",
    type=click.Path(path_type=Path),
    help="A conversation to go on with: JSON messages and tools; see docs/chat.md.",
)
@click.option(
    "--thinking/--no-thinking",
    default=None,
    help="The chat template's switch for thinking.  [default: not set]",
)
@click.option(
    "--mtp",
    type=click.Choice(["on", "off", "both"]),
    default="both",
    show_default=True,
    help="Speculative decoding; `both` runs the two and compares their text.",
)
@click.option(
    "--max-new-tokens",
    type=click.IntRange(min=1),
    default=DEFAULT_NEW_TOKENS,
    show_default=True,
    help="Longest answer.",
)
@click.option(
    "--max-num-tokens",
    type=click.IntRange(min=8),
    help="Slots of the KV cache.  [default: what the bundle says]",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads.  [default: the runtime's own choice]",
)
@click.option(
    "--weight-cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for packed weights; makes a second start faster.  [default: none kept]",
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    help="Sample; under MTP not with --runtime litert-lm.",
)
@click.option("--top-k", type=click.IntRange(min=1), help="Sample, from the likeliest so many.")
@click.option(
    "--top-p", type=click.FloatRange(0, 1), help="Sample, from the likeliest that sum up to this."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the sampler.")
@click.option(
    "--runtime",
    type=click.Choice(list(RUNTIMES)),
    default=STOCK,
    show_default=True,
    help="The stock LiteRT-LM engine, or this project's own runtime in Python, driving LiteRT or, for "
    "what `export --format onnx` made, ONNX Runtime.",
)
@click.option(
    "--draft-length",
    type=DraftLengthType(),
    metavar="auto|N",
    help="Drafts per round; `auto` drafts while that pays. Not with --runtime litert-lm.  [default: auto]",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 8),
    help="Prompts answered at once; when one is answered, the next takes its place. Needs --runtime "
    "reference and a bundle exported with --batch.  [default: as many as the bundle can]",
)
@click.option(
    "--accelerator",
    type=click.Choice([accelerator.value for accelerator in Accelerator]),
    default=Accelerator.CPU.value,
    show_default=True,
    help="Where target and drafter run; see docs/gpu.md.",
)
@click.option("--json", "as_json", is_flag=True, help="Text and measurements, machine-readable.")
def command(
    bundle: Path,
    prompts: tuple[str, ...],
    prompt_file: Path | None,
    chat_file: Path | None,
    thinking: bool | None,
    mtp: str,
    max_new_tokens: int,
    max_num_tokens: int | None,
    threads: int | None,
    weight_cache: Path | None,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    seed: int,
    runtime: str,
    draft_length: str | int | None,
    batch: int | None,
    accelerator: str,
    as_json: bool,
) -> None:
    """Generate text from BUNDLE, greedily unless told otherwise.

    Text goes to stdout, one answer after the other in the order of the prompts, each ending with a
    newline. With `--mtp both`, exit code 3 says that the two texts differ.
    """
    from exporter.bundle.stored_contract import with_cache_length
    from exporter.verify.texts import read_prompts
    from runtime_py.chat.chat_file import read_chat_file
    from runtime_py.chat.conversation import Conversation
    from runtime_py.same_text import ReplyLimits

    _check_usage(
        runtime,
        mtp,
        asked=[bool(prompts), prompt_file is not None, chat_file is not None].count(True),
        sampled=any(given is not None for given in (temperature, top_k, top_p)),
        draft_length=draft_length,
        batch=batch,
        weight_cache=weight_cache,
        accelerator=accelerator,
    )
    if prompt_file:
        prompts = read_prompts(prompt_file)
    agreed = _contract(bundle, runtime, drafting=mtp != "off")
    agreed = with_cache_length(bundle, agreed, max_num_tokens)
    if runtime == STOCK:
        check_accelerator(bundle, agreed.accelerator, Accelerator(accelerator))
    request = GenerateRequest(
        bundle=bundle,
        modes=("off", "on") if mtp == "both" else (mtp,),
        conversations=[
            conversation.with_thinking(thinking)
            for conversation in (
                [read_chat_file(chat_file)] if chat_file else map(Conversation.asking, prompts)
            )
        ],
        max_new_tokens=max_new_tokens,
        max_num_tokens=max_num_tokens,
        threads=threads,
        weight_cache=weight_cache,
        sampling=_sampling(temperature, top_k, top_p, seed),
        draft_length="auto" if draft_length is None else draft_length,
        batch=batch,
        accelerator=Accelerator(accelerator),
        on_chunk=None if as_json else partial(click.echo, nl=False),
    )
    runs = {}
    for mode, run in RUNTIMES[runtime](request):
        runs[mode] = run
        if not as_json:
            _show_calls(run)
            click.echo(_measurements(run), err=True)
    if as_json:
        click.echo(json.dumps({mode: run.to_json() for mode, run in runs.items()}, indent=2))
    if mtp == "both":
        cache_length = min(max_num_tokens or agreed.cache_length, agreed.cache_length)
        overshoot = agreed.draft_length if runtime == STOCK else 0
        compare(runs["off"], runs["on"], ReplyLimits(max_new_tokens, cache_length, overshoot))


def _contract(bundle: Path, runtime: str, *, drafting: bool) -> Contract:
    """The contract of what is to be run.

    Raises:
        BundleError: It is not what this runtime runs, or cannot draft.
    """
    if runtime == "onnx":
        from exporter.bundle.onnx_folder import open_folder

        return open_folder(bundle).contract()
    from exporter.bundle.inspection import inspect_bundle, require_contract
    from exporter.bundle.stored_contract import require_drafter

    agreed = require_contract(inspect_bundle(bundle))
    if drafting:
        require_drafter(bundle, agreed)
    return agreed


def _check_usage(
    runtime: str,
    mtp: str,
    *,
    asked: int,
    sampled: bool,
    draft_length: str | int | None,
    batch: int | None,
    weight_cache: Path | None,
    accelerator: str,
) -> None:
    """Refuse options that do nothing together, before anything is read.

    Raises:
        click.UsageError: The first of them.
    """
    stock, onnx = runtime == STOCK, runtime == "onnx"
    wrong = (
        (asked != 1, "give --prompt, --prompts or --chat-file"),
        (
            sampled and stock and mtp != "off",
            "the engine ignores sampling settings under speculative decoding: add --mtp off, or "
            "--runtime reference or onnx",
        ),
        (
            sampled and mtp == "both",
            "two sampled texts differ and cannot be compared: add --mtp on or --mtp off",
        ),
        (
            draft_length is not None and stock,
            "the engine drafts as many tokens as the bundle's verify takes: --draft-length needs "
            "--runtime reference or onnx",
        ),
        (
            draft_length is not None and mtp == "off",
            "nothing is drafted with --mtp off: leave out --draft-length",
        ),
        (
            batch is not None and runtime != "reference",
            f"{runtime} answers one prompt at a time: --batch needs --runtime reference",
        ),
        (
            weight_cache is not None and onnx,
            "ONNX Runtime keeps no packed weights: leave out --weight-cache",
        ),
        (
            accelerator != Accelerator.CPU.value and onnx,
            "ONNX folders run on the CPU only: leave out --accelerator",
        ),
    )
    for refused, message in wrong:
        if refused:
            raise click.UsageError(message)


def _sampling(
    temperature: float | None, top_k: int | None, top_p: float | None, seed: int
) -> SamplingSettings:
    """What was asked for, the rest as Gemma's own; greedy if nothing was."""
    from runtime_py.loop.sampling import GREEDY, SamplingSettings

    if temperature is None and top_k is None and top_p is None:
        return GREEDY
    return SamplingSettings(
        1.0 if temperature is None else temperature,
        64 if top_k is None else top_k,
        0.95 if top_p is None else top_p,
        seed,
    )


def _show_calls(run: RunResult) -> None:
    """Tool calls, a line of JSON for each answer that has any; and which answers were only thought."""
    for reply in chain(*run.replies):
        if reply.thought and not reply.text and not reply.tool_calls:
            click.echo("    the answer was cut off in a thought; --json shows it", err=True)
        if reply.tool_calls:
            click.echo(json.dumps({"tool_calls": reply.tool_calls}))


def _measurements(run: RunResult) -> str:
    first = run.replies[0][0].time_to_first_token
    text = (
        f"    {run.decode_tokens} tokens, {run.tokens_per_second:.1f} tokens/s, first after "
        f"{first * 1000:.0f} ms"
    )
    if run.success_rate is not None:
        text += f", success rate of drafts {run.success_rate:.2f}"
    return text


def _parts(off: Reply, on: Reply) -> Iterator[tuple[str, str, str]]:
    """What an answer consists of, on both sides."""
    yield "thoughts", off.thought, on.thought
    yield "texts", off.text, on.text
    yield "tool calls", json.dumps(off.tool_calls), json.dumps(on.tool_calls)


def compare(off: RunResult, on: RunResult, limits: ReplyLimits) -> None:
    """Tell how MTP did; texts must be identical.

    Raises:
        ParityError: They are not.
    """
    from runtime_py.same_text import first_difference, same_text

    pairs = zip(chain(*off.replies), chain(*on.replies), strict=True)
    for index, (without, with_) in enumerate(pairs, start=1):
        if not same_text(without, with_, limits):
            what, off_said, on_said = next(
                (what, *said) for what, *said in _parts(without, with_) if said[0] != said[1]
            )
            same = first_difference(off_said, on_said)
            raise ParityError(
                f"the {what} with and without MTP differ in answer {index} after {same} characters: "
                f"off {off_said[same:][:40]!r}, on {on_said[same:][:40]!r}"
            )
    ratio = on.tokens_per_second / off.tokens_per_second if off.tokens_per_second else 0.0
    told = "identical text"
    if off.texts != on.texts:
        told += " up to the limit, which the engine passes by up to a round with MTP on"
    click.echo(f"{told}; MTP on / off: {ratio:.2f}x tokens/s", err=True)
