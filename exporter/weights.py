"""Which checkpoint tensor fills which weight of which graph.

The graphs use the parameter names of ``exporter.model``; checkpoints prefix them and tie some. This
is the only place that knows both. A weight is handed on as a :class:`Weight`, which yields blocks of
rows and never the whole tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoint import Checkpoint, StoredTensor, TensorReader, require
from exporter.contract import Dtype, Section, TensorSpec
from exporter.errors import CheckpointError
from quantize.arrays import ReadyRows

TARGET_PREFIXES = ("model.language_model.", "model.")
"""Of a multimodal checkpoint (Gemma4ForConditionalGeneration) and of a text-only one."""

TOKEN_ORDERING = "masked_embedding.token_ordering"

BLOCK_ELEMENTS = 2 * 1024 * 1024
"""Elements quantised at a time: 8 MB as float32, small enough for several copies to be cheap."""


@dataclass(frozen=True)
class Weight:
    """One weight of a graph and the tensor that fills it.

    ``name`` is what recipes match: ``target.`` or ``drafter.`` and the parameter's name. ``ready`` are
    codes that need no quantising any more; they are stored as they are.
    """

    name: str
    spec: TensorSpec
    tensor: StoredTensor
    reader: TensorReader
    ready: ReadyRows | None = None

    @property
    def rows(self) -> int:
        return math.prod(self.spec.shape[:-1])

    @property
    def row_length(self) -> int:
        return self.spec.shape[-1]

    @property
    def is_matrix(self) -> bool:
        """Whether a recipe may quantise it; vectors and integer tables are stored as they are."""
        return self.spec.dtype is Dtype.FLOAT32 and len(self.spec.shape) == 2

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The weight as float32 blocks ``[R, row_length]``, in order."""
        step = max(1, BLOCK_ELEMENTS // self.row_length)
        for row in range(0, self.rows, step):
            count = min(step, self.rows - row)
            flat = self.reader.floats(self.tensor, row * self.row_length, count * self.row_length)
            yield flat.reshape(count, self.row_length)

    def ordering(self) -> NDArray[np.int32]:
        """An integer table (the centroid head's), checked to be a permutation of the vocabulary.

        Raises:
            CheckpointError: It is not: the head was saved before its clusters were made.
        """
        values = self.reader.integers(self.tensor)
        if not np.array_equal(np.sort(values, axis=None), np.arange(values.size)):
            raise CheckpointError(
                f"{self.tensor.file}: {self.tensor.name} must list every token once, and does not; "
                "save the drafter after its centroids are fitted, or export with --drafter-head full"
            )
        return values.astype(np.int32).reshape(self.spec.shape)


def target_prefix(target: Checkpoint) -> str:
    """The prefix of the text model's tensors.

    Raises:
        CheckpointError: The checkpoint has no text model under a known prefix.
    """
    for prefix in TARGET_PREFIXES:
        if f"{prefix}embed_tokens.weight" in target.tensors:
            return prefix
    raise CheckpointError(
        f"{target.folder}: expected the text model's tensors under {TARGET_PREFIXES[0]} or "
        f"{TARGET_PREFIXES[1]}, found neither {TARGET_PREFIXES[0]}embed_tokens.weight nor "
        f"{TARGET_PREFIXES[1]}embed_tokens.weight among {len(target.tensors)} tensors"
    )


def target_tensor(section: Section, parameter: str, prefix: str) -> str:
    """Checkpoint name of a parameter of one of the target's graphs."""
    if section is Section.EMBEDDER or parameter == "lm_head.weight":
        return f"{prefix}embed_tokens.weight"
    if section is Section.PER_LAYER_EMBEDDER:
        return f"{prefix}embed_tokens_per_layer.weight"
    return prefix + parameter


def drafter_tensor(parameter: str) -> str:
    """Checkpoint name of a parameter of the drafter's graph."""
    if parameter == "lm_head.weight":
        return "model.embed_tokens.weight"
    if parameter.startswith(("pre_projection.", "post_projection.", "masked_embedding.")):
        return parameter
    return f"model.{parameter}"


def recipe_name(section: Section, parameter: str) -> str:
    """The name that recipes match."""
    if section is Section.MTP_DRAFTER:
        return f"drafter.{parameter}"
    if section in (Section.EMBEDDER, Section.PER_LAYER_EMBEDDER):
        return "target." + target_tensor(section, parameter, "")
    return f"target.{parameter}"


WeightSpecs = Mapping[Section, Mapping[str, TensorSpec]]
"""For each section, the weights its graph takes: parameter name to shape."""


def find_weights(
    specs: WeightSpecs, target: Checkpoint, drafter: Checkpoint | None, reader: TensorReader
) -> dict[Section, dict[str, Weight]]:
    """Match every weight of the graphs with a tensor of the right shape.

    Raises:
        CheckpointError: Listing, per checkpoint, every tensor that is missing or mis-shaped.
    """
    prefix = target_prefix(target)
    found: dict[Section, dict[str, Weight]] = {}
    wanted: dict[Section, dict[str, str]] = {}
    for section, weights in specs.items():
        wanted[section] = {
            parameter: drafter_tensor(parameter)
            if section is Section.MTP_DRAFTER
            else target_tensor(section, parameter, prefix)
            for parameter in weights
        }
    _require_all(specs, wanted, target, drafter)
    for section, weights in specs.items():
        checkpoint = drafter if section is Section.MTP_DRAFTER else target
        assert checkpoint is not None
        found[section] = {
            parameter: Weight(
                recipe_name(section, parameter),
                spec,
                checkpoint.tensors[wanted[section][parameter]],
                reader,
            )
            for parameter, spec in weights.items()
        }
    return found


def _require_all(
    specs: WeightSpecs,
    wanted: Mapping[Section, Mapping[str, str]],
    target: Checkpoint,
    drafter: Checkpoint | None,
) -> None:
    shapes: dict[bool, dict[str, tuple[int, ...]]] = {False: {}, True: {}}
    for section, weights in specs.items():
        for parameter, spec in weights.items():
            name = wanted[section][parameter]
            shapes[section is Section.MTP_DRAFTER][name] = stored_shape(parameter, spec)
    require(target, shapes[False])
    if drafter is not None:
        require(drafter, shapes[True])


def stored_shape(parameter: str, spec: TensorSpec) -> tuple[int, ...]:
    """A parameter's shape in the checkpoint: vectors lose the leading ones the graph gives them."""
    if parameter == TOKEN_ORDERING:
        return (math.prod(spec.shape),)
    return tuple(spec.shape[-1:]) if len(spec.shape) > 2 else spec.shape


def unused_tensors(
    checkpoint: Checkpoint, weights: Mapping[Section, Mapping[str, Weight]]
) -> list[str]:
    """Tensors of a checkpoint that no graph uses: vision and audio towers, unused k/v, and so on."""
    used = {weight.tensor for section in weights.values() for weight in section.values()}
    return [name for name, tensor in checkpoint.tensors.items() if tensor not in used]
