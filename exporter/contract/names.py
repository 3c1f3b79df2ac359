"""Names that the engine looks up, and the forms of what they name: sections, signatures, tensors.

No other module spells out a name of a tensor of the text model; those of pictures are in
:mod:`exporter.contract.vision`. Source: the inputs and outputs that LiteRT-LM's CPU executor and MTP drafter
look up by name.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

PREFILL_PREFIX = "prefill_"
DECODE = "decode"
VERIFY = "verify"
DRAFT = "mtp_drafter"
"""The drafter's signature. The engine takes the first one whatever its name."""
DRAFT_ROUND = "draft"
"""All G draft steps of a round in one call; in no section that the engine reads."""
BATCH_DECODE = "batch_decode"
BATCH_VERIFY = "batch_verify"
BATCH_DRAFT = "batch_mtp_drafter"
"""Signatures for several sequences at once; the engine looks for none of these names."""
EMBED = "embedder"
EMBED_PER_LAYER = "per_layer_embedder"

TOKEN_IDS = "token_ids"
TOKENS = "tokens"
EMBEDDINGS = "embeddings"
PER_LAYER_EMBEDDINGS = "per_layer_embeddings"
INPUT_POS = "input_pos"
MASK = "mask"
PARAM_TENSOR = "param_tensor"
"""int32 [1, 1, 1, 7]: first slot written, end of the slots in use, the same end again, zeros."""
LOGITS = "logits"
ACTIVATIONS = "activations"
PROJECTED_ACTIVATIONS = "projected_activations"

WEIGHT_PREFIX = "weights_"
"""Of inputs that a graph has until it is bound: its weights, the parameter's name follows."""

CHOICE_PREFIX = "mtp_export.branch_"
"""Of composites that become branches of IF operations; the numbers of slots that its products read follow,
joined by ``_``."""


class Section(enum.StrEnum):
    """Model sections of a ``.litertlm`` file, by the ``model_type`` the engine looks for."""

    EMBEDDER = "tf_lite_embedder"
    PER_LAYER_EMBEDDER = "tf_lite_per_layer_embedder"
    PREFILL_DECODE = "tf_lite_prefill_decode"
    MTP_DRAFTER = "tf_lite_mtp_drafter"
    VISION_ENCODER = "tf_lite_vision_encoder"
    VISION_ADAPTER = "tf_lite_vision_adapter"
    END_OF_VISION = "tf_lite_end_of_vision"
    AUDIO_ENCODER = "tf_lite_audio_encoder_hw"
    AUDIO_ADAPTER = "tf_lite_audio_adapter"
    END_OF_AUDIO = "tf_lite_end_of_audio"


class Accelerator(enum.StrEnum):
    """What a bundle's graphs are written for.

    ``gpu`` graphs hold operations of LiteRT's GPU delegate and take :data:`PARAM_TENSOR`.
    """

    CPU = "cpu"
    GPU = "gpu"


class Dtype(enum.StrEnum):
    """Element types that cross the boundary of a graph."""

    FLOAT32 = "float32"
    INT32 = "int32"
    INT8 = "int8"
    BOOL = "bool"


@dataclass(frozen=True)
class TensorSpec:
    """Shape and element type of one named input or output."""

    shape: tuple[int, ...]
    dtype: Dtype = Dtype.FLOAT32


Specs = Mapping[str, TensorSpec]


@dataclass(frozen=True)
class SignatureSpec:
    """Inputs and outputs of one signature, in the order they are exported."""

    inputs: Specs
    outputs: Specs


KEY_CACHE_PREFIX, VALUE_CACHE_PREFIX = "kv_cache_k_", "kv_cache_v_"


def key_cache(layer: int, sequence: int | None = None) -> str:
    """Name of the key cache that ``layer`` owns; in a batch signature, of that ``sequence``."""
    return f"{KEY_CACHE_PREFIX}{layer}{_sequence_suffix(sequence)}"


def value_cache(layer: int, sequence: int | None = None) -> str:
    """Name of the (transposed) value cache that ``layer`` owns; ``sequence`` as for :func:`key_cache`."""
    return f"{VALUE_CACHE_PREFIX}{layer}{_sequence_suffix(sequence)}"


def held_positions(sequence: int | None = None) -> str:
    """Name of what says which token each slot of the sliding caches holds; ``sequence`` as above.

    It begins as a key cache's, because the engine keeps what is called so from call to call.
    """
    return f"{KEY_CACHE_PREFIX}positions{_sequence_suffix(sequence)}"


def _sequence_suffix(sequence: int | None) -> str:
    return "" if sequence is None else f"_row_{sequence}"
