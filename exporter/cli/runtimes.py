"""What runs answers: the stock engine, and this project's own runtime on LiteRT or ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exporter.contract.names import Accelerator
from exporter.errors import BundleError

if TYPE_CHECKING:
    from runtime_py.chat.conversation import Conversation
    from runtime_py.loop.rounds import Source
    from runtime_py.loop.sampling import SamplingSettings
    from runtime_py.opened_model import Opened
    from runtime_py.reply import OnChunk, RunResult


STOCK = "litert-lm"
"""The runtime that is not ours."""


class DraftLengthType(click.ParamType[str | int]):
    """``auto``, or a number of drafts."""

    name = "draft length"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | int:
        """Parse what was typed."""
        if value == "auto" or isinstance(value, int):
            return value
        with suppress(ValueError):
            if (drafts := int(str(value))) > 0:
                return drafts
        raise click.BadParameter(
            f"expected `auto` or a number from 1 on, found {value!r}", ctx, param
        )


DRAFT_FROM = ("auto", "drafter", "lookup")
"""What ``--draft-from`` takes."""


def draft_sources(draft_from: str | None, draft_length: str | int | None) -> frozenset[Source]:
    """Where drafts are from; by default a number of drafts is the drafter's."""
    from runtime_py.loop.rounds import Source

    if draft_from in (None, "auto"):
        return frozenset({Source.DRAFTER} if isinstance(draft_length, int) else Source)
    return frozenset({Source(draft_from)})


@dataclass(frozen=True)
class GenerateRequest:
    """What to generate, for either runtime: all answers once for each of ``modes``, ``on`` or ``off``.

    ``on_chunk`` None is silence.
    """

    bundle: Path
    modes: tuple[str, ...]
    conversations: list[Conversation]
    image_tokens: int | None
    max_new_tokens: int
    max_num_tokens: int | None
    threads: int | None
    weight_cache: Path | None
    sampling: SamplingSettings
    draft_length: str | int
    sources: Set[Source]
    batch: int | None
    accelerator: Accelerator
    on_chunk: OnChunk | None


def check_accelerator(bundle: Path, made_for: Accelerator, wanted: Accelerator) -> None:
    """Check that the stock engine can run a bundle where it is asked to.

    Raises:
        BundleError: The graphs were written for another accelerator.
    """
    if made_for is not wanted:
        raise BundleError(
            f"{bundle}: expected a bundle for the {wanted.value}, found one for the {made_for.value}; "
            f"add --accelerator {made_for.value}, or export it again with --accelerator {wanted.value}"
        )


def with_engine(request: GenerateRequest) -> Iterator[tuple[str, RunResult]]:
    """A run of the stock engine for each mode."""
    from exporter.bundle.reader import open_bundle
    from exporter.bundle.stored_pictures import picture_budget, stored_pictures
    from runtime_py.chat.media import require_media, used_media
    from runtime_py.engine.stock_engine import EngineSettings, run_engine

    bundle = open_bundle(request.bundle)
    require_media(bundle, used_media(request.conversations))
    if (pictures := stored_pictures(bundle.manifest())) is not None:
        picture_budget(request.bundle, pictures, request.image_tokens)
    for mode in request.modes:
        settings = EngineSettings(
            request.bundle,
            mtp=mode == "on",
            max_new_tokens=request.max_new_tokens,
            accelerator=request.accelerator,
            threads=request.threads,
            max_num_tokens=request.max_num_tokens,
            weight_cache=request.weight_cache,
            sampling=request.sampling,
            image_tokens=request.image_tokens,
        )
        yield mode, run_engine(settings, request.conversations, request.on_chunk)


def with_reference(request: GenerateRequest) -> Iterator[tuple[str, RunResult]]:
    """A run of the reference runtime for each mode, on a model that is opened once."""
    from exporter.extras import require_audio, require_images, require_runtime
    from runtime_py.chat.media import Medium, used_media

    require_runtime()
    media = used_media(request.conversations)
    if Medium.IMAGE in media:
        require_images()
    if Medium.AUDIO in media:
        require_audio()
    from runtime_py.litert.hardware import Hardware
    from runtime_py.opened_model import open_model

    hardware = Hardware(request.accelerator, request.threads, request.weight_cache)
    drafting = "on" in request.modes
    with open_model(
        request.bundle,
        hardware,
        cache_length=request.max_num_tokens,
        drafting=drafting,
        check_weights=True,
        media=media,
        image_tokens=request.image_tokens,
    ) as model:
        together = _together(request, model.executor.contract.batch)
        yield from _each_mode(request, model, together)


def with_onnx(request: GenerateRequest) -> Iterator[tuple[str, RunResult]]:
    """A run on ONNX Runtime for each mode, on a folder that is opened once."""
    from exporter.extras import require_onnx, require_runtime
    from runtime_py.chat.media import used_media

    if media := used_media(request.conversations):
        raise BundleError(
            f"{request.bundle}: expected text, found {' and '.join(f'{m.noun}s' for m in sorted(media))}: "
            "ONNX folders take text only; export a .litertlm bundle"
        )
    require_onnx()
    require_runtime()
    from runtime_py.onnx.model import open_onnx_model

    drafting = "on" in request.modes
    with open_onnx_model(
        request.bundle,
        request.threads,
        cache_length=request.max_num_tokens,
        drafting=drafting,
        check_weights=True,
    ) as model:
        yield from _each_mode(request, model, 1)


def _each_mode(
    request: GenerateRequest, model: Opened[Any], together: int
) -> Iterator[tuple[str, RunResult]]:
    from runtime_py.batch_run import run_batch
    from runtime_py.reference_run import RunSettings, run_reference

    for mode in request.modes:
        drafts = request.draft_length if mode == "on" else 0
        settings = RunSettings(
            drafts,
            request.max_new_tokens,
            request.sampling,
            request.max_num_tokens,
            request.sources,
        )
        asked = (model, settings, request.conversations, request.on_chunk)
        one_by_one = together == 1
        run = run_reference(*asked) if one_by_one else run_batch(*asked, together=together)
        yield mode, run


def _together(request: GenerateRequest, batch: int) -> int:
    """How many prompts to answer at once: what was asked for, else what the bundle can do.

    Raises:
        BundleError: The bundle cannot do what was asked for.
    """
    if request.batch is not None and request.batch > batch:
        raise BundleError(
            f"{request.bundle}: expected a bundle that answers {request.batch} prompts at once, found "
            f"one for {batch}; export it with --batch {request.batch}"
        )
    if len(request.sources) == 1 and "lookup" in request.sources:
        return 1  # several together draft with the drafter only
    return min(request.batch or batch, len(request.conversations))


RUNTIMES = {STOCK: with_engine, "reference": with_reference, "onnx": with_onnx}
"""By the name of ``--runtime``."""
