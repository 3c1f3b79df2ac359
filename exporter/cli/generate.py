"""``mtp-export generate``."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.cli.conversations import read_conversations
from exporter.cli.generate_output import compare, measurements, show_calls, verdict_of
from exporter.cli.generate_usage import check_usage
from exporter.cli.option_types import COUNT, LARGEST, SEED, SHARE, TEMPERATURE, THREADS, whole_texts
from exporter.cli.runtimes import (
    DRAFT_FROM,
    RUNTIMES,
    STOCK,
    DraftLengthType,
    GenerateRequest,
    check_accelerator,
    draft_sources,
)
from exporter.cli.strict_command import StrictCommand
from exporter.contract.names import Accelerator

if TYPE_CHECKING:
    from exporter.contract.text import Contract
    from runtime_py.loop.sampling import SamplingSettings

DEFAULT_NEW_TOKENS = 256


@click.command(cls=StrictCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "-p",
    "--prompt",
    "prompts",
    multiple=True,
    callback=whole_texts,
    help="What to ask; may be given several times.",
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
    "--image",
    "images",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A picture that every prompt gets, PNG or JPEG; may be given several times. It goes in front of "
    "the text, or where the prompt has <|image|>; see docs/pictures.md.",
)
@click.option(
    "--audio",
    "sounds",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A sound that every prompt gets, WAV, FLAC or MP3, as --image; its place is <|audio|>.",
)
@click.option(
    "--image-tokens",
    type=click.IntRange(min=1),
    help="The most tokens that a picture becomes.  [default: the most that the bundle allows]",
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
    type=COUNT,
    default=DEFAULT_NEW_TOKENS,
    show_default=True,
    help="Longest answer.",
)
@click.option(
    "--max-num-tokens",
    type=click.IntRange(8, LARGEST),
    help="Slots of the KV cache.  [default: what the bundle says]",
)
@click.option(
    "--threads",
    type=THREADS,
    help="CPU threads.  [default: the runtime's own choice]",
)
@click.option(
    "--weight-cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for packed weights; makes a second start faster. Files are named by what they were packed "
    "from; remove them when you like.  [default: none kept]",
)
@click.option(
    "--temperature",
    type=TEMPERATURE,
    help="Sample; under MTP not with --runtime litert-lm.",
)
@click.option("--top-k", type=COUNT, help="Sample, from the likeliest so many.")
@click.option("--top-p", type=SHARE, help="Sample, from the likeliest that sum up to this.")
@click.option(
    "--seed",
    type=SEED,
    default=0,
    show_default=True,
    help="Seed of the sampler; in the reference runtimes the same text follows, whatever is drafted.",
)
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
    "--draft-from",
    type=click.Choice(DRAFT_FROM),
    help="Where drafts are from: the drafter; the context, where its latest tokens stood before (`lookup`, "
    "prompt lookup decoding); or, `auto`, what pays most as measured. Not with --runtime litert-lm; several "
    "prompts at once have the drafter's.  [default: auto, with --draft-length N drafter]",
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
    help="Where target and drafter run, and in the stock engine the encoders of pictures and sound; see "
    "docs/gpu.md.",
)
@click.option("--json", "as_json", is_flag=True, help="Text and measurements, machine-readable.")
def command(
    bundle: Path,
    prompts: tuple[str, ...],
    prompt_file: Path | None,
    chat_file: Path | None,
    images: tuple[Path, ...],
    sounds: tuple[Path, ...],
    image_tokens: int | None,
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
    draft_from: str | None,
    batch: int | None,
    accelerator: str,
    as_json: bool,
) -> None:
    """Generate text from BUNDLE, greedily unless told otherwise.

    Text goes to stdout, one answer after the other in the order of the prompts, each ending with a
    newline. With `--mtp both`, exit code 3 says that the two texts differ.
    """
    from exporter.bundle.stored_contract import with_cache_length
    from runtime_py.bench.verdict_text import as_json as verdict_json
    from runtime_py.bench.verdict_text import told
    from runtime_py.same_text import ReplyLimits

    check_usage(
        runtime,
        mtp,
        asked=[bool(prompts), prompt_file is not None, chat_file is not None].count(True),
        sampled=any(given is not None for given in (temperature, top_k, top_p)),
        draft_length=draft_length,
        draft_from=draft_from,
        batch=batch,
        weight_cache=weight_cache,
        accelerator=accelerator,
        media=bool(images or sounds) and chat_file is not None,
    )
    conversations = read_conversations(
        prompts, prompt_file, chat_file, images, sounds, needs_picture=image_tokens is not None
    )
    agreed = _contract(bundle, runtime, drafting=mtp != "off")
    agreed = with_cache_length(bundle, agreed, max_num_tokens)
    if runtime == STOCK:
        check_accelerator(bundle, agreed.accelerator, Accelerator(accelerator))
    request = GenerateRequest(
        bundle=bundle,
        modes=("off", "on") if mtp == "both" else (mtp,),
        conversations=[conversation.with_thinking(thinking) for conversation in conversations],
        image_tokens=image_tokens,
        max_new_tokens=max_new_tokens,
        max_num_tokens=max_num_tokens,
        threads=threads,
        weight_cache=weight_cache,
        sampling=_sampling(temperature, top_k, top_p, seed),
        draft_length="auto" if draft_length is None else draft_length,
        sources=draft_sources(draft_from, draft_length),
        batch=batch,
        accelerator=Accelerator(accelerator),
        on_chunk=None if as_json else partial(click.echo, nl=False),
    )
    runs = {}
    for mode, run in RUNTIMES[runtime](request):
        runs[mode] = run
        if not as_json:
            show_calls(run)
            click.echo(measurements(run), err=True)
    length = draft_length if isinstance(draft_length, int) else agreed.draft_length
    adaptive = runtime != STOCK and not isinstance(draft_length, int)
    verdict = verdict_of(runs, min(length, agreed.draft_length), adaptive=adaptive)
    if as_json:
        found = {mode: run.to_json() for mode, run in runs.items()}
        found |= {"verdict": verdict_json(verdict)} if verdict else {}
        click.echo(json.dumps(found, indent=2))
    if mtp == "both":
        cache_length = min(max_num_tokens or agreed.cache_length, agreed.cache_length)
        overshoot = agreed.draft_length if runtime == STOCK else 0
        compare(runs["off"], runs["on"], ReplyLimits(max_new_tokens, cache_length, overshoot))
    if verdict is not None and not as_json:
        click.echo(f"verdict: {told(verdict)}", err=True)


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
