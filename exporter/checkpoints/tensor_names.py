"""Which checkpoint tensor a parameter of a graph is.

The graphs use the parameter names of ``exporter.model``; checkpoints prefix them and may tie head and
embedding. This is the only place that knows both.
"""

from __future__ import annotations

import math

from exporter.checkpoints.checkpoint import Checkpoint
from exporter.contract import Section, TensorSpec
from exporter.errors import CheckpointError

TARGET_PREFIXES = ("model.language_model.", "model.")
"""Of a multimodal checkpoint (Gemma4ForConditionalGeneration) and of a text-only one."""

DRAFTER_PREFIX = "model."

HEAD = "lm_head.weight"
EMBEDDING = "embed_tokens.weight"
TOKEN_ORDERING = "masked_embedding.token_ordering"


def target_prefix(target: Checkpoint) -> str:
    """The prefix of the text model's tensors.

    Raises:
        CheckpointError: The checkpoint has no text model under a known prefix.
    """
    for prefix in TARGET_PREFIXES:
        if target.shape_of(f"{prefix}{EMBEDDING}") is not None:
            return prefix
    raise CheckpointError(
        f"{target.folder}: expected the text model's tensors under {TARGET_PREFIXES[0]} or "
        f"{TARGET_PREFIXES[1]}, found neither {TARGET_PREFIXES[0]}{EMBEDDING} nor "
        f"{TARGET_PREFIXES[1]}{EMBEDDING} among {len(target.tensors)} tensors"
    )


def text_prefix(checkpoint: Checkpoint, section: Section) -> str:
    """The prefix of the tensors of the model that ``section`` is made of."""
    return DRAFTER_PREFIX if section is Section.MTP_DRAFTER else target_prefix(checkpoint)


def tensor_name(section: Section, parameter: str, prefix: str, *, tied: bool) -> str:
    """Checkpoint name of a parameter of one of the graphs.

    Args:
        section: Whose graph.
        parameter: Its name there.
        prefix: As :func:`text_prefix` gives it.
        tied: Whether the head is the embedding table.
    """
    if parameter == HEAD:
        return prefix + EMBEDDING if tied else HEAD
    if section is Section.EMBEDDER:
        return prefix + EMBEDDING
    if section is Section.PER_LAYER_EMBEDDER:
        return f"{prefix}embed_tokens_per_layer.weight"
    if parameter.startswith(("pre_projection.", "post_projection.", "masked_embedding.")):
        return parameter
    return prefix + parameter


def recipe_name(section: Section, parameter: str) -> str:
    """The name that recipes match."""
    if section is Section.MTP_DRAFTER:
        return f"drafter.{parameter}"
    if section in (Section.EMBEDDER, Section.PER_LAYER_EMBEDDER):
        return "target." + tensor_name(section, parameter, "", tied=True)
    return f"target.{parameter}"


def stored_shape(parameter: str, spec: TensorSpec) -> tuple[int, ...]:
    """A parameter's shape in the checkpoint: vectors lose the leading ones the graph gives them."""
    if parameter == TOKEN_ORDERING:
        return (math.prod(spec.shape),)
    return tuple(spec.shape[-1:]) if len(spec.shape) > 2 else spec.shape
