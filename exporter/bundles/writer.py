"""Packing sections into one ``.litertlm`` file, with the format's own builder.

Knows the sections' order, the engine's metadata and where the manifest goes; knows nothing about
what is inside a graph. The builder stamps a fresh uuid and creation time into every file: those two
header fields are all that differs between two exports of the same input.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from litert_lm_builder.litertlm_builder import DType, LitertLmFileBuilder, Metadata, TfLiteModelType
from litert_lm_builder.runtime.proto import llm_metadata_pb2, sampler_params_pb2

from exporter.bundles.layout import (
    DRAFT_ROUND_SECTIONS,
    DRAFT_ROUND_VALUE,
    GRAPH_BYTES_KEY,
    GRAPH_SHA256_KEY,
    LABEL_KEY,
    MANIFEST_VALUE,
    READS_KEY,
    SHA256_KEY,
)
from exporter.checkpoints.assets import Assets
from exporter.checksum import sha256
from exporter.contract import Section
from exporter.lowering.graph_reader import GraphReader


def llm_metadata(assets: Assets, max_num_tokens: int) -> Any:
    """The engine's description of the model: tokens, template, sampler, capabilities."""
    message = llm_metadata_pb2.LlmMetadata()
    message.start_token.token_ids.ids.append(assets.bos_token_id)
    for token in assets.stop_token_ids:
        message.stop_tokens.add().token_ids.ids.append(token)
    message.max_num_tokens = max_num_tokens
    message.jinja_prompt_template = assets.chat_template
    message.supports_thinking = "enable_thinking" in assets.chat_template
    message.supports_function_calling = "tool_calls" in assets.chat_template
    _fill_sampler(message.sampler_params, assets)
    _fill_model_type(message, assets.special_tokens)
    return message


def _fill_sampler(sampler: Any, assets: Assets) -> None:
    """Greedy is TOP_P among one token: the engine's CPU sampler knows no GREEDY (0.18.1)."""
    sampler.type = sampler_params_pb2.SamplerParameters.TOP_P
    sampler.k = assets.sampler.top_k
    sampler.p = assets.sampler.top_p
    sampler.temperature = assets.sampler.temperature


def _fill_model_type(message: Any, tokens: Mapping[str, str]) -> None:
    """Gemma 4, with the tokens of its tool calls and thoughts if the tokenizer has them."""
    gemma = message.llm_model_type.gemma4
    gemma.SetInParent()
    for field, token in (
        ("code_fence_start", "stc_token"),
        ("code_fence_end", "etc_token"),
        ("open_quote", "escape_token"),
        ("close_quote", "escape_token"),
        ("function_response_start", "str_token"),
    ):
        if token in tokens:
            setattr(gemma, field, tokens[token])
    if "soc_token" in tokens and "eoc_token" in tokens:
        thought = message.channels.add()
        thought.channel_name = "thought"
        thought.start = f"{tokens['soc_token']}thought\n"
        thought.end = tokens["eoc_token"]


def checksums(path: Path) -> list[Metadata]:
    """SHA-256 of a section that is written as it is. The tokenizer's zlib stream has its own."""
    return [_text(SHA256_KEY, sha256(path))]


def graph_checksums(path: Path) -> list[Metadata]:
    """SHA-256 and length of a model's graph, which ends where its weights begin."""
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapping,
        memoryview(mapping) as content,  # released before the mapping is closed, also on Ctrl-C
    ):
        nbytes = GraphReader(content, str(path)).graph_bytes()
        digest = hashlib.sha256(mapping[:nbytes]).hexdigest()
    return [_text(GRAPH_SHA256_KEY, digest), _text(GRAPH_BYTES_KEY, str(nbytes))]


def _text(key: str, value: str) -> Metadata:
    return Metadata(key, value, DType.STRING)


def write_bundle(
    stream: BinaryIO,
    sections: Mapping[Section, Path],
    assets: Assets,
    max_num_tokens: int,
    manifest: Mapping[str, Any],
    scratch: Path,
    draft_round: Path | None = None,
) -> None:
    """Pack everything into ``stream``.

    Args:
        stream: Seekable binary file, open for writing.
        sections: Bound graphs, as files.
        assets: Tokenizer, template and token ids.
        max_num_tokens: Length of the KV caches.
        manifest: JSON object that says how the bundle was made.
        scratch: Existing folder for small intermediate files.
        draft_round: The graph of a draft round.
    """
    metadata = scratch / "llm_metadata.pb"
    metadata.write_bytes(llm_metadata(assets, max_num_tokens).SerializeToString(deterministic=True))
    made = scratch / "manifest.json"
    made.write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
    builder = LitertLmFileBuilder()
    builder.add_system_metadata(Metadata("Authors", "mtp-export", DType.STRING))
    builder.add_llm_metadata(str(metadata), checksums(metadata))
    builder.add_hf_tokenizer(str(assets.tokenizer_json))
    marker = Metadata(LABEL_KEY, MANIFEST_VALUE, DType.STRING)
    builder.add_generic_binary_data(str(made), [marker, *checksums(made)])
    sums = {section: sha256(path) for section, path in sections.items()}
    for section, path in sections.items():
        builder.add_tflite_model(
            str(path),
            TfLiteModelType(section.value),
            additional_metadata=[_text(SHA256_KEY, sums[section]), *graph_checksums(path)],
        )
    if draft_round is not None:
        reads = " ".join(sums[section] for section in DRAFT_ROUND_SECTIONS)
        described = [_text(LABEL_KEY, DRAFT_ROUND_VALUE), _text(READS_KEY, reads)]
        builder.add_generic_binary_data(str(draft_round), [*described, *checksums(draft_round)])
    builder.build(stream, validate_metadata=True)
