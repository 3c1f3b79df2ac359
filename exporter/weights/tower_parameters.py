"""What the parameters of both kinds of tower have in common: names and shapes, said without torch."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.contract.names import TensorSpec

BOUNDS = ("input_min", "input_max", "output_min", "output_max")
"""Parameters of a clipped linear layer: the ranges of what goes in and what comes out."""

PROJECTION = "embedding_projection.weight"
"""The only parameter of an adapter."""

END_EMBEDDING = "embedding"
"""The only parameter of the section for the end of a picture or a clip: a row of the token table, scaled."""

Named = Iterator[tuple[str, TensorSpec]]


def vector(width: int, rank: int = 3) -> TensorSpec:
    """A vector with the rank of the activations."""
    return TensorSpec((1,) * (rank - 1) + (width,))


def clipped_linear(name: str, inputs: int, outputs: int, *, clipped: bool) -> Named:
    """A matrix and the bounds of what goes in and out."""
    yield f"{name}.linear.weight", TensorSpec((outputs, inputs))
    if clipped:
        for bound in BOUNDS:
            yield f"{name}.{bound}", vector(1)
