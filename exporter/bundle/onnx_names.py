"""Names of tensors in ONNX graphs, where they cannot be the contract's.

An ONNX graph may not give an output the name of an input. So a cache that goes in as
``kv_cache_k_0`` comes out as ``new_kv_cache_k_0``; all other tensors have the contract's names.
"""

from __future__ import annotations

from collections.abc import Collection

from exporter.contract.names import SignatureSpec

SLOTS = "cache_length"
"""The size that is chosen at load."""

WRITTEN_PREFIX = "new_"


def output_name(name: str, inputs: Collection[str]) -> str:
    """What the contract's output ``name`` of a signature with these inputs is called."""
    return WRITTEN_PREFIX + name if name in inputs else name


def contract_name(name: str, inputs: Collection[str]) -> str:
    """What an output is called in the contract: the inverse of :func:`output_name`."""
    known = name.removeprefix(WRITTEN_PREFIX)
    return known if known in inputs else name


def as_onnx(spec: SignatureSpec) -> SignatureSpec:
    """A signature as its ONNX graph has it."""
    outputs = {output_name(name, spec.inputs): tensor for name, tensor in spec.outputs.items()}
    return SignatureSpec(spec.inputs, outputs)
