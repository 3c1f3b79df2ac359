"""``LlmMetadata``, what the engine is told of a model: tokens, template, sampler, capabilities.

An ONNX folder holds it, too: the runtimes read start, stop and suppressed tokens from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litert_lm_builder.runtime.proto import llm_metadata_pb2, sampler_params_pb2

from exporter.checkpoints.assets.assets import Assets
from exporter.checkpoints.assets.media_tokens import MediaTokens
from exporter.checkpoints.assets.sampler_defaults import SamplerDefaults
from exporter.checkpoints.assets.special_tokens import (
    CALL_END,
    CALL_START,
    QUOTE,
    THOUGHT_END,
    THOUGHT_START,
    TOOL_RESPONSE_START,
)
from exporter.contract.media import TEXT_ONLY, Media
from exporter.contract.text import Contract
from exporter.contract.vision import VisionContract

MIN_RUNTIME_VERSION = "0.15.0"
"""The oldest LiteRT-LM that runs a bundle rightly; tried on the wheels from 0.10.0 on.

Up to 0.14 a prefill of 1024 tokens is used for shorter prompts, too, and reads beyond a cache of as many
slots; up to 0.12 nothing can be drafted on a GPU. Engines from 0.18.0 on read the field, warn if they are
older, and show it in ``litert-lm describe``; older ones pass over it.
"""

MIN_VERSION_SUPPRESSING = "0.17.0"
"""That version where tokens are suppressed: 0.14 says them all the same, 0.15 and 0.16 do with MTP on."""


def llm_metadata(assets: Assets, contract: Contract, media: Media = TEXT_ONLY) -> Any:
    """The message for a model with these assets and graphs, those for pictures and sound included."""
    message = llm_metadata_pb2.LlmMetadata()
    message.start_token.token_ids.ids.append(assets.ids.bos)
    for token in assets.ids.stops:
        message.stop_tokens.add().token_ids.ids.append(token)
    if assets.ids.pad is not None:
        message.pad_token.token_ids.ids.append(assets.ids.pad)
    if assets.ids.suppressed:
        message.suppress_tokens.ids.extend(assets.ids.suppressed)
    message.max_num_tokens = contract.cache_length
    message.min_runtime_version = (
        MIN_VERSION_SUPPRESSING if assets.ids.suppressed else MIN_RUNTIME_VERSION
    )
    message.jinja_prompt_template = assets.template.source
    message.supports_thinking = assets.template.thinking
    message.supports_function_calling = assets.template.tools
    _fill_sampler(message.sampler_params, assets.sampler)
    _fill_model_type(message, assets.special_tokens)
    gemma = message.llm_model_type.gemma4
    if media.pictures is not None and assets.picture_tokens is not None:
        _fill_pictures(gemma, assets.picture_tokens, media.pictures)
    if media.sound is not None and assets.sound_tokens is not None:
        gemma.start_of_audio_token.token_str = assets.sound_tokens.start
        gemma.end_of_audio_token.token_str = assets.sound_tokens.end
    return message


def _fill_pictures(gemma: Any, tokens: MediaTokens, pictures: VisionContract) -> None:
    """How the engine cuts pictures, and what it puts around them: texts, which it looks up itself."""
    gemma.start_of_image_token.token_str = tokens.start
    gemma.end_of_image_token.token_str = tokens.end
    gemma.patch_width = gemma.patch_height = pictures.patch_size
    gemma.max_num_patches = pictures.max_patches
    gemma.pooling_kernel_size = pictures.pooling


def _fill_sampler(message: Any, sampler: SamplerDefaults) -> None:
    """Greedy is TOP_P among one token: the engine's CPU sampler knows no GREEDY (0.18.1)."""
    message.type = sampler_params_pb2.SamplerParameters.TOP_P
    message.k = sampler.top_k
    message.p = sampler.top_p
    message.temperature = sampler.temperature


def _fill_model_type(message: Any, tokens: Mapping[str, str]) -> None:
    """Gemma 4, with the tokens of its tool calls and thoughts if the tokenizer has them."""
    gemma = message.llm_model_type.gemma4
    gemma.SetInParent()
    for field, token in (
        ("code_fence_start", CALL_START),
        ("code_fence_end", CALL_END),
        ("open_quote", QUOTE),
        ("close_quote", QUOTE),
        ("function_response_start", TOOL_RESPONSE_START),
    ):
        if token in tokens:
            setattr(gemma, field, tokens[token])
    if THOUGHT_START in tokens and THOUGHT_END in tokens:
        thought = message.channels.add()
        thought.channel_name = "thought"
        thought.start = f"{tokens[THOUGHT_START]}thought\n"
        thought.end = tokens[THOUGHT_END]
