"""How ``generate``, ``compare`` and ``chat`` run a bundle: runtime, sampling, drafts, threads, limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.cli.grouped_options import grouped
from exporter.cli.option_types import COUNT, LARGEST, SEED, SHARE, TEMPERATURE, THREADS
from exporter.cli.runtimes import (
    DRAFT_FROM,
    RUNTIMES,
    STOCK,
    DraftLengthType,
    GenerateRequest,
    check_accelerator,
    draft_sources,
)
from exporter.contract.names import Accelerator

if TYPE_CHECKING:
    from exporter.cli.conversations import Asked
    from exporter.contract.text import Contract
    from runtime_py.chat.conversation import Conversation
    from runtime_py.loop.sampling import SamplingSettings
    from runtime_py.reply import OnChunk

DEFAULT_NEW_TOKENS = 256


@dataclass(frozen=True)
class Choices:
    """What was chosen on the command line."""

    thinking: bool | None
    max_new_tokens: int
    max_num_tokens: int | None
    threads: int | None
    weight_cache: Path | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    seed: int
    runtime: str
    draft_length: str | int | None
    draft_from: str | None
    accelerator: str

    @property
    def sampled(self) -> bool:
        """Whether anything but greedy decoding was asked for."""
        return any(given is not None for given in (self.temperature, self.top_k, self.top_p))

    @property
    def sampling(self) -> SamplingSettings:
        """What was asked for, the rest as Gemma's own; greedy if nothing was."""
        from runtime_py.loop.sampling import GREEDY, SamplingSettings

        if not self.sampled:
            return GREEDY
        return SamplingSettings(
            1.0 if self.temperature is None else self.temperature,
            64 if self.top_k is None else self.top_k,
            0.95 if self.top_p is None else self.top_p,
            self.seed,
        )

    @property
    def adaptive(self) -> bool:
        """Whether the runtime drafts as much as pays, instead of a full draft in every round."""
        return self.runtime != STOCK and not isinstance(self.draft_length, int)

    def full_draft(self, most: int) -> int:
        """Tokens of a full draft, of which the bundle's verify takes ``most``."""
        return min(self.draft_length, most) if isinstance(self.draft_length, int) else most

    def request(
        self,
        bundle: Path,
        modes: tuple[str, ...],
        conversations: list[Conversation],
        asked: Asked,
        on_chunk: OnChunk | None,
    ) -> GenerateRequest:
        """What is to be run; arguments as in :class:`GenerateRequest`."""
        length = self.draft_length
        return GenerateRequest(
            bundle,
            modes,
            [conversation.with_thinking(self.thinking) for conversation in conversations],
            asked.image_tokens,
            self.max_new_tokens,
            self.max_num_tokens,
            self.threads,
            self.weight_cache,
            self.sampling,
            "auto" if length is None else length,
            draft_sources(self.draft_from, length),
            asked.batch,
            Accelerator(self.accelerator),
            on_chunk,
        )

    @property
    def about_drafts(self) -> bool:
        """Whether an option was given that is of no use where nothing is drafted."""
        return self.draft_length is not None or self.draft_from is not None


running_options = grouped(
    Choices,
    "choices",
    (
        click.option(
            "--thinking/--no-thinking",
            default=None,
            help="The chat template's switch for thinking.  [default: not set]",
        ),
        click.option(
            "--max-new-tokens",
            type=COUNT,
            default=DEFAULT_NEW_TOKENS,
            show_default=True,
            help="Longest answer.",
        ),
        click.option(
            "--max-num-tokens",
            type=click.IntRange(8, LARGEST),
            help="Slots of the KV cache.  [default: what the bundle says]",
        ),
        click.option(
            "--threads", type=THREADS, help="CPU threads.  [default: the runtime's own choice]"
        ),
        click.option(
            "--weight-cache",
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder for packed weights; makes a second start faster. Files are named by what they were "
            "packed from; remove them when you like.  [default: none kept]",
        ),
        click.option(
            "--temperature",
            type=TEMPERATURE,
            help="Sample at this temperature; with --runtime litert-lm only if MTP is off.",
        ),
        click.option("--top-k", type=COUNT, help="Sample from this many of the likeliest tokens."),
        click.option(
            "--top-p",
            type=SHARE,
            help="Sample from the likeliest tokens whose probabilities add up to this.",
        ),
        click.option(
            "--seed",
            type=SEED,
            default=0,
            show_default=True,
            help="Seed of the sampler; in the reference runtimes it decides the text, whatever is drafted.",
        ),
        click.option(
            "--runtime",
            type=click.Choice(list(RUNTIMES)),
            default=STOCK,
            show_default=True,
            help="The stock LiteRT-LM engine, or this project's own runtime in Python, driving LiteRT or, "
            "for what `export --format onnx` made, ONNX Runtime.",
        ),
        click.option(
            "--draft-length",
            type=DraftLengthType(),
            metavar="auto|N",
            help="Drafts per round; `auto` drafts while that pays. Not with --runtime litert-lm.  "
            "[default: auto]",
        ),
        click.option(
            "--draft-from",
            type=click.Choice(DRAFT_FROM),
            help="Where drafts are from: the drafter; the context, where its latest tokens stood before "
            "(`lookup`, prompt lookup decoding); or whichever is measured to pay more (`auto`). Not with "
            "--runtime litert-lm, and with --batch from the drafter only.  [default: auto, with "
            "--draft-length N drafter]",
        ),
        click.option(
            "--accelerator",
            type=click.Choice([accelerator.value for accelerator in Accelerator]),
            default=Accelerator.CPU.value,
            show_default=True,
            help="Where target and drafter run, and in the stock engine the encoders of pictures and "
            "sound; see docs/gpu.md.",
        ),
    ),
)
"""Gives a command the argument ``choices``."""


class ModeType(click.Choice[str]):
    """``on`` or ``off``; ``both`` is another command's."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """What was typed."""
        if value == "both":
            self.fail("`mtp-export compare` answers with MTP off and on, and compares.", param, ctx)
        return super().convert(value, param, ctx)


MTP = click.option(
    "--mtp",
    type=ModeType(["on", "off"]),
    help="Speculative decoding; `mtp-export compare` runs both.  [default: on, if there is a drafter]",
)


def runnable(bundle: Path, choices: Choices, *, drafting: bool) -> Contract:
    """The contract of what is to be run, with the cache that was asked for.

    Raises:
        BundleError: It is not what this runtime runs there, or cannot draft.
    """
    from exporter.bundle.stored_contract import require_drafter, with_cache_length

    agreed = _contract(bundle, choices.runtime)
    if choices.runtime == STOCK:
        check_accelerator(bundle, agreed.accelerator, Accelerator(choices.accelerator))
    if drafting:
        require_drafter(bundle, agreed)
    return with_cache_length(bundle, agreed, choices.max_num_tokens)


def _contract(bundle: Path, runtime: str) -> Contract:
    if runtime == "onnx":
        from exporter.bundle.onnx_folder import open_folder

        return open_folder(bundle).contract()
    from exporter.bundle.inspection import inspect_bundle, require_contract

    return require_contract(inspect_bundle(bundle))
