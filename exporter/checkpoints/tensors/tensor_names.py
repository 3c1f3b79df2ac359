"""Which checkpoint tensor a parameter of a graph is.

The graphs use the parameter names of ``exporter.model.text``; checkpoints prefix them in several ways and may
tie head and embedding. This is the only place that knows both.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.tensors.text_modules import MODEL_PREFIXES, is_tower, text_module
from exporter.contract.names import Section, TensorSpec
from exporter.errors import CheckpointError, listed

HEAD = "lm_head.weight"
EMBEDDING = "embed_tokens.weight"
TOKEN_ORDERING = "masked_embedding.token_ordering"

OF_DECODER = ("layers.", "embed_tokens.", "embed_tokens_per_layer.", "norm.", "per_layer_")
"""Beginnings of names of the decoder stack's tensors; a checkpoint has all of them under one prefix."""

OF_DRAFTER = ("pre_projection.", "post_projection.", "masked_embedding.")
"""Beginnings of names of parameters that a drafter has beside its decoder stack."""

UNMERGED = (
    "a PEFT model that was saved unmerged; save it after merge_and_unload(), or save the adapter alone and "
    "give it by --lora"
)

WRAPPERS = {
    "base_model": UNMERGED,
    "base_layer": UNMERGED,
    "lora_A": UNMERGED,
    "_orig_mod": "a model that torch.compile wraps; save model._orig_mod instead",
    "module": "a model that DistributedDataParallel wraps; save model.module instead",
    "_fsdp_wrapped_module": "a model that FSDP wraps; save its full state dict instead",
}
"""Parts of names that a wrapper around the model adds, and what that means."""


@dataclass(frozen=True)
class TensorNames:
    """How a checkpoint names the tensors of its text model (a target's, or a drafter)."""

    prefix: str
    """The prefix of the decoder stack's tensors."""
    head: str
    """The name of a head that is not the embedding table."""

    def of(self, section: Section, parameter: str, *, tied: bool) -> str:
        """Checkpoint name of a parameter of one of the graphs.

        Args:
            section: Whose graph.
            parameter: Its name there.
            tied: Whether the head is the embedding table.
        """
        if parameter == HEAD:
            return self.prefix + EMBEDDING if tied else self.head
        if section is Section.EMBEDDER:
            return self.prefix + EMBEDDING
        if section is Section.PER_LAYER_EMBEDDER:
            return f"{self.prefix}embed_tokens_per_layer.weight"
        return parameter if parameter.startswith(OF_DRAFTER) else self.prefix + parameter


def find_names(checkpoint: Checkpoint) -> TensorNames:
    """How a checkpoint names its tensors: under the prefix of the class that it was saved from, or none.

    Raises:
        CheckpointError: There is no text model, or there are parts of several, or a wrapper was saved.
    """
    _refuse_wrappers(checkpoint)
    prefixes = prefixes_in(checkpoint.tensors)
    if len(prefixes) > 1:
        found = [f"{count} under {prefix or 'no prefix'}" for prefix, count in prefixes.items()]
        raise CheckpointError(
            f"{checkpoint.folder}: expected the text model's tensors under one prefix, found "
            f"{' and '.join(found)}; parts of several saves are mixed: save the model again"
        )
    prefix = next(iter(prefixes), "")
    if checkpoint.shape_of(prefix + EMBEDDING) is None:
        expected = ", ".join(known + EMBEDDING for known in (*MODEL_PREFIXES, ""))
        raise CheckpointError(
            f"{checkpoint.folder}: expected the text model's embedding as one of {expected}; found none "
            f"among {len(checkpoint.tensors)} tensors"
        )
    heads = [outer + HEAD for outer in ("", *MODEL_PREFIXES)]
    return TensorNames(prefix, next((h for h in heads if checkpoint.shape_of(h) is not None), HEAD))


def prefixes_in(names: Iterable[str]) -> Counter[str]:
    """The prefixes under which there are tensors of a decoder stack, the most common first."""
    of_decoder = [(name, text_module(name)) for name in names if not is_tower(name)]
    found = Counter(n.removesuffix(text) for n, text in of_decoder if text.startswith(OF_DECODER))
    return Counter(dict(found.most_common()))


def _refuse_wrappers(checkpoint: Checkpoint) -> None:
    found: dict[str, str] = {}
    for name in checkpoint.tensors:
        for part in WRAPPERS.keys() & set(name.split(".")):
            found.setdefault(part, name)
    if problems := [f"{name} is of {WRAPPERS[part]}" for part, name in sorted(found.items())]:
        raise CheckpointError(f"{checkpoint.folder}: {listed(problems)}")


def recipe_name(section: Section, parameter: str) -> str:
    """The name that recipes match."""
    if section is Section.MTP_DRAFTER:
        return f"drafter.{parameter}"
    if section in (Section.EMBEDDER, Section.PER_LAYER_EMBEDDER):
        return "target." + TensorNames("", HEAD).of(section, parameter, tied=True)
    return f"target.{parameter}"


def stored_shape(parameter: str, spec: TensorSpec) -> tuple[int, ...]:
    """A parameter's shape in the checkpoint: vectors lose the leading ones the graph gives them."""
    if parameter == TOKEN_ORDERING:
        return (math.prod(spec.shape),)
    return tuple(spec.shape[-1:]) if len(spec.shape) > 2 else spec.shape
