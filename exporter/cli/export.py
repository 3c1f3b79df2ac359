"""``mtp-export export``."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.checkpoints.architecture import HeadKind
from exporter.cli.option_types import parse_numbers
from exporter.cli.recipe_option import RECIPE
from exporter.cli.strict_command import StrictCommand
from exporter.contract.names import Accelerator, Dtype
from exporter.options import Activations, ExportOptions, OutputFormat, SlidingCache
from quantize.evidence import RECOMMENDED
from quantize.recipe import Recipe

if TYPE_CHECKING:
    from exporter.checkpoints.checkpoint import Checkpoint
    from exporter.cli.export_forecast import OpenPair
    from exporter.cli.export_inference import Chosen
    from exporter.progress import Reporter
    from exporter.templates.fitting import RenderInEngine

logger = logging.getLogger(__name__)

SHOWN = 3
"""Kinds of ignored tensors that are named."""


@click.command(cls=StrictCommand)
@click.argument("target")
@click.argument("drafter", required=False)
@click.option(
    "-o",
    "--output",
    "given_output",
    metavar="OUT",
    help="The bundle (or, with --format onnx, the folder) to write, or a folder for it to be in.  [default: "
    "NAME-RECIPE.litertlm]",
)
@click.option(
    "--recipe",
    type=RECIPE,
    default=RECOMMENDED,
    show_default=True,
    help="How weights are stored; see `mtp-export recipes`.",
)
@click.option(
    "--calibration",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.txt",
    help="Text like what the model will read and write, for gptq recipes and int8 caches; 8192 tokens count.",
)
@click.option("--no-drafter", is_flag=True, help="Make a bundle without speculative decoding.")
@click.option(
    "--cache-length",
    type=click.IntRange(min=8),
    help="Tokens a conversation can hold, unless the app asks for another number.  [default: 4096, or "
    "what the model was trained for if less]",
)
@click.option(
    "--fixed-cache-length",
    is_flag=True,
    help="Fix the cache length now: apps cannot ask for another one.",
)
@click.option(
    "--sliding-cache",
    type=click.Choice([kind.value for kind in SlidingCache]),
    default=SlidingCache.FULL.value,
    show_default=True,
    help="How long the caches of sliding layers are: `full`, as long as all others; `ring`, as long as what "
    "these layers see, overwritten in turn (docs/long_context.md).",
)
@click.option(
    "--rewind-tokens",
    type=click.IntRange(0, 32768),
    default=0,
    show_default=True,
    help="Lengthen rings so that a conversation can be taken back by this many tokens, as the engine does "
    "after thoughts.",
)
@click.option(
    "--prefill-lengths",
    callback=parse_numbers,
    metavar="N[,N...]",
    help="Prompt tokens processed at once; the engine picks among them.  [default: 128,1024]",
)
@click.option(
    "--draft-length",
    type=click.IntRange(1, 15),
    default=3,
    show_default=True,
    help="Tokens drafted per round.",
)
@click.option(
    "--drafter-head",
    type=click.Choice([kind.value for kind in HeadKind]),
    help="How the drafter scores the vocabulary.  [default: as the checkpoint was trained]",
)
@click.option(
    "--kv-cache",
    "kv_dtype",
    type=click.Choice([Dtype.FLOAT32.value, Dtype.INT8.value]),
    default=Dtype.FLOAT32.value,
    show_default=True,
    help="How keys and values are kept; int8 takes a quarter of the memory. Its scales are measured on the "
    "text of --calibration, or on a short one that comes with the tool.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 8),
    default=1,
    show_default=True,
    help="Also make graphs that run so many sequences at once, for `generate --runtime reference`; "
    "the stock engine uses the others.",
)
@click.option(
    "--chat-template",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A chat template that LiteRT-LM can run, instead of the checkpoint's; see docs/chat.md.",
)
@click.option(
    "--lora",
    metavar="ADAPTER",
    help="LoRA adapter (PEFT format, folder or hub id) to merge into TARGET, if TARGET is not one itself.",
)
@click.option("--drafter-lora", metavar="ADAPTER", help="LoRA adapter to merge into DRAFTER.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice([kind.value for kind in OutputFormat]),
    default=OutputFormat.LITERTLM.value,
    show_default=True,
    help="One file for LiteRT-LM, or a folder of models for ONNX Runtime (docs/onnx.md).",
)
@click.option("--no-vision", is_flag=True, help="Leave the vision tower out: no pictures.")
@click.option(
    "--image-tokens",
    callback=parse_numbers,
    metavar="N[,N...]",
    help="Tokens that a picture may become; the engine takes the smallest number that is enough for the "
    "budget of a message (docs/pictures.md).  [default: 70,140,280]",
)
@click.option("--no-audio", is_flag=True, help="Leave the audio tower out: no sound.")
@click.option(
    "--audio-seconds",
    type=click.IntRange(1, 300),
    help="Seconds of sound that are encoded at once: shorter clips cost as much, longer ones are cut into "
    "pieces (docs/sound.md).  [default: as many as the checkpoint's processor takes, 30]",
)
@click.option(
    "--accelerator",
    type=click.Choice([accelerator.value for accelerator in Accelerator]),
    default=Accelerator.CPU.value,
    show_default=True,
    help="What the graphs are written for; see docs/gpu.md.",
)
@click.option(
    "--activations",
    type=click.Choice([kind.value for kind in Activations]),
    help="What a GPU computes with in target and drafter, unless the app asks for something else.  [default: "
    "the engine's, float16]",
)
@click.option("--revision", help="Branch, tag or commit of TARGET on the hub.")
@click.option("--drafter-revision", help="Branch, tag or commit of DRAFTER on the hub.")
@click.option(
    "--requantize",
    is_flag=True,
    help="Let the recipe decide about weights, too, whose codes were chosen in training (QAT checkpoints).",
)
@click.option("--fresh-graphs", is_flag=True, help="Lower the graphs again even if they are known.")
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Tell what would be read, downloaded and made, and what that takes; make nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="What --dry-run tells, machine-readable.")
def command(
    target: str,
    drafter: str | None,
    given_output: str | None,
    recipe: Recipe,
    calibration: Path | None,
    no_drafter: bool,
    cache_length: int | None,
    fixed_cache_length: bool,
    sliding_cache: str,
    rewind_tokens: int,
    prefill_lengths: tuple[int, ...] | None,
    draft_length: int,
    drafter_head: str | None,
    kv_dtype: str,
    batch: int,
    chat_template: Path | None,
    lora: str | None,
    drafter_lora: str | None,
    output_format: str,
    accelerator: str,
    activations: str | None,
    revision: str | None,
    drafter_revision: str | None,
    requantize: bool,
    fresh_graphs: bool,
    force: bool,
    no_vision: bool,
    image_tokens: tuple[int, ...] | None,
    no_audio: bool,
    audio_seconds: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make a bundle of TARGET and its drafter.

    Both are folders or Hugging Face hub ids. TARGET is a model, or a LoRA adapter, which says what it was
    trained on. DRAFTER (-assistant), if not given, is looked for beside TARGET and on the hub.
    """
    if drafter is not None and no_drafter:
        raise click.UsageError("give a DRAFTER, or --no-drafter for a bundle without one")
    if as_json and not dry_run:
        raise click.UsageError("--json is of what --dry-run tells")
    if dry_run and output_format == OutputFormat.ONNX.value:
        raise click.UsageError("--dry-run needs --format litertlm")
    from exporter.checkpoints.checkpoint import resolve
    from exporter.checkpoints.hub import download
    from exporter.cli.drafter_advice import drafter_advice
    from exporter.cli.export_inference import Asked, choose
    from exporter.cli.progress import TerminalReporter
    from exporter.conflicts import NEEDS_DRAFTER, check_options
    from exporter.errors import OptionsError
    from exporter.pipeline import export

    if no_drafter and (drafter_revision or drafter_lora):
        raise click.UsageError(NEEDS_DRAFTER)
    options = ExportOptions(
        recipe=recipe,
        cache_length=cache_length,
        fixed_cache_length=fixed_cache_length,
        sliding_cache=SlidingCache(sliding_cache),
        rewind_tokens=rewind_tokens,
        prefill_lengths=prefill_lengths,
        draft_length=draft_length,
        drafter_head=HeadKind(drafter_head) if drafter_head else None,
        batch=batch,
        chat_template=chat_template,
        format=OutputFormat(output_format),
        calibration=calibration,
        accelerator=Accelerator(accelerator),
        activations=Activations(activations) if activations else None,
        kv_dtype=Dtype(kv_dtype),
        force=force,
        fresh_graphs=fresh_graphs,
        requantize=requantize,
        vision=not no_vision,
        image_tokens=image_tokens,
        audio=not no_audio,
        audio_seconds=audio_seconds,
    )
    try:
        check_options(options, drafter=not no_drafter)
    except OptionsError as error:
        raise click.UsageError(str(error)) from error
    more = no_drafter, drafter_revision, drafter_lora
    chosen = choose(Asked(target, drafter, given_output, lora, revision, *more), options)
    output, reporter = chosen.output, TerminalReporter()
    for line in chosen.told:
        reporter.note(line)

    def open_pair() -> tuple[Checkpoint, Checkpoint | None]:
        opened = resolve(target, revision, download, lora)
        if chosen.drafter is None:
            return opened, None
        return opened, resolve(chosen.drafter, drafter_revision, download, drafter_lora)

    if dry_run:
        _look_ahead(chosen, options, open_pair, reporter, as_json=as_json)
        return
    target_checkpoint, drafter_checkpoint = open_pair()
    exported = export(target_checkpoint, drafter_checkpoint, output, options, reporter, _engine())
    for role, kinds in exported.ignored.items():
        if kinds:
            logger.info("ignored in the %s: %s", role, dict(kinds))
            reporter.note(_ignored(role, _by_tower(kinds)))
    if drafter_checkpoint is not None:
        runtime = " --runtime onnx" if options.format is OutputFormat.ONNX else ""
        measure = f"mtp-export compare {output}{runtime}"
        if advice := drafter_advice(target_checkpoint, drafter_checkpoint, measure):
            reporter.note(advice)
    click.echo(f"{output}: {exported.nbytes:,} bytes")


def _look_ahead(
    chosen: Chosen,
    options: ExportOptions,
    open_pair: OpenPair,
    reporter: Reporter,
    *,
    as_json: bool,
) -> None:
    """Tell what an export would do, and fail where the disk has no room for it."""
    from exporter.cli.export_forecast import look_ahead, render, require_room

    found = look_ahead(chosen, options, open_pair, reporter)
    output = {"output": str(chosen.output), "drafter": chosen.drafter}
    shown = render(found, chosen, options)
    click.echo(json.dumps({**output, **found.to_json()}, indent=2) if as_json else shown)
    require_room(found, chosen.output)


def _ignored(role: str, found: Mapping[str, int]) -> str:
    """One line; the manifest lists all, and so does ``--verbose``."""
    most = sorted(found, key=lambda name: -found[name])
    more = f" and {len(most) - SHOWN} more (--verbose has all)" if len(most) > SHOWN else ""
    return (
        f"ignored in the {role}: {sum(found.values())} tensors of {', '.join(most[:SHOWN])}{more}"
    )


def _by_tower(kinds: Mapping[str, int]) -> dict[str, int]:
    """Tensors that no graph uses, those of a tower for vision or audio counted together."""
    from exporter.checkpoints.tensors.text_modules import is_tower, text_module

    found: dict[str, int] = {}
    for kind, count in sorted(kinds.items()):
        name = text_module(kind).split(".")[0] if is_tower(kind) else kind
        found[name] = found.get(name, 0) + count
    return found


def _engine() -> RenderInEngine | None:
    """The engine, if it is installed, to try chat templates on."""
    from exporter.extras import has_engine
    from exporter.verify.sides.engine import render_in_probe

    return render_in_probe if has_engine() else None
