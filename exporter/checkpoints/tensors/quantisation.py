"""Whether a checkpoint's weights are packed, as its ``quantization_config`` says.

The block stays in ``config.json`` when a model that was loaded quantised is merged and saved as float; then
the tensors tell that it is out of date. Where tensors are packed in a format other than that of
``packed_tensor``, the checkpoint is refused, and the message names the format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.checkpoints.tensors.packed_tensor import METHOD
from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.checkpoints.tensors.tensor_reader import FLOAT_TYPES
from exporter.checkpoints.tensors.text_modules import is_tower
from exporter.errors import CheckpointError

KEYS = ("quantization_config", "compression_config", "quantization")
"""Keys under which transformers, earlier versions of compressed-tensors, and MLX keep it."""

SIGNS = {
    ".absmax": "bitsandbytes", ".quant_map": "bitsandbytes", ".SCB": "bitsandbytes",
    ".bitsandbytes__nf4": "bitsandbytes", ".bitsandbytes__fp4": "bitsandbytes",
    ".weight_packed": "compressed-tensors", ".weight_scale": "compressed-tensors",
    ".weight_zero_point": "compressed-tensors", ".weight_shape": "compressed-tensors",
    ".qweight": "gptq", ".qzeros": "gptq", ".g_idx": "gptq",
    ".weight_scale_inv": "fp8", ".scales": "mlx", ".biases": "mlx", ".W_q": "hqq",
    "_weight_qdata": "torchao", "_weight_scale": "torchao",
}  # fmt: skip
"""Ends of names of tensors that only a packed weight has, and who writes them."""

WAYS_OUT = {
    "bitsandbytes": "load the base model without load_in_4bit or load_in_8bit, merge into that and save it "
    "again; or export the float base model with --lora",
    "compressed-tensors": "give the -qat-q4_0-unquantized checkpoint of this size, or the float one that was "
    "compressed",
}

ORDERING = ".token_ordering"
"""The end of the name of a tensor that is an integer in float drafters, too."""

FLOAT_ORIGINAL = "give the float checkpoint that it was made from"


def remarks_on_quantisation(
    config: Mapping[str, Any], tensors: Mapping[str, StoredTensor], where: str
) -> tuple[str, ...]:
    """What should be said of a configuration that is out of date; usually nothing.

    Args:
        config: The checkpoint's ``config.json``.
        tensors: Its directory.
        where: Shown in error messages.

    Raises:
        CheckpointError: The text model's weights are packed in a format that is not read.
    """
    method = _method(config)
    if method == METHOD:
        return ()
    packed = next((tensor for tensor in tensors.values() if _is_packed(tensor, method)), None)
    if packed is not None:
        method = method or next(sign for end, sign in SIGNS.items() if packed.name.endswith(end))
        raise CheckpointError(
            f"{where}: the weights are packed by {method} ({packed.name} is {packed.dtype}), a format that "
            f"is not read; {WAYS_OUT.get(method, FLOAT_ORIGINAL)}"
        )
    if method is None:
        return ()
    return (f"{where}: config.json says that {method} packed the weights; they are float: ignored",)


def is_out_of_date(config: Mapping[str, Any]) -> bool:
    """Whether an opened checkpoint's configuration names a format that its weights are not in."""
    return _method(config) not in (None, METHOD)


def _method(config: Mapping[str, Any]) -> str | None:
    """The format that the configuration names."""
    text = config.get("text_config")
    for part in (config, text if isinstance(text, Mapping) else {}):
        for key in KEYS:
            if part.get(key) is not None:
                block = part[key]
                named = block.get("quant_method") if isinstance(block, Mapping) else None
                return str(named or ("mlx" if key == "quantization" else "an unnamed tool"))
    return None


def _is_packed(tensor: StoredTensor, method: str | None) -> bool:
    """Whether a tensor of the text model is part of a weight that ``method`` packed, if one is named."""
    if is_tower(tensor.name):
        return False
    codes = tensor.dtype not in FLOAT_TYPES and not tensor.name.endswith(ORDERING)
    return (codes and method is not None) or tensor.name.endswith(tuple(SIGNS))
