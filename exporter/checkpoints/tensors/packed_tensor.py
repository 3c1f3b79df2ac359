"""Matrices that a checkpoint holds as integer codes with scales.

The format is that of the ``-qat-mobile-transformers`` checkpoints, ``quant_method`` "gemma": codes of 2
and 4 bits are unsigned bytes, several codes a byte, the first in the lowest bits, the most negative
code 0; codes of 8 bits are signed bytes. ``M.weight`` has its scales in ``M.weight_scale``, a table
``M.embedding_quantized`` in ``M.embedding_scale``; a row has one scale, or one for each of equal groups.
How many bits a module has is in the configuration.

Source: transformers 5.22 ``integrations/gemma_quant.py`` and ``GemmaQuantizationConfig``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.patterns import NO_PATTERN, in_time, search_all
from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.checkpoints.tensors.text_modules import class_prefix, is_tower, text_module
from exporter.errors import CheckpointError, listed
from quantize.arrays import unpack

METHOD = "gemma"

PARTS = ((".weight", ".weight_scale"), (".embedding_quantized", ".embedding_scale"))
"""Ends of the names of codes and of their scales."""

DTYPES = {2: "U8", 4: "U8", 8: "I8"}
"""The safetensors type that codes have, by their bits."""

SIGN_BITS = {2: 0b10101010, 4: 0b10001000, 8: 0}
"""What turns a byte of unsigned codes into one of signed ones: subtracting half the range flips each
code's highest bit."""

DEFAULT_BITS = 4
"""Where neither the configuration nor one of its patterns says anything."""


@dataclass(frozen=True)
class PackedTensor:
    """A matrix ``[R, C]`` as codes and scales ``[R, n]``; ``name`` is that of the matrix."""

    name: str
    codes: StoredTensor
    scales: StoredTensor
    bits: int

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.codes.shape
        return rows, columns * 8 // self.bits

    @property
    def groups(self) -> int:
        """Scales of a row."""
        return self.scales.shape[1]

    def signed(self, start: int, count: int, reader: TensorReader) -> bytes:
        """Codes of ``count`` rows in two's complement, packed as in the checkpoint."""
        width = self.codes.shape[1]
        stored = np.frombuffer(reader.read(self.codes, start * width, count * width), np.uint8)
        return (stored ^ np.uint8(SIGN_BITS[self.bits])).tobytes()

    def row_scales(self, start: int, count: int, reader: TensorReader) -> NDArray[np.float32]:
        """Scales ``[count, n]`` of ``count`` rows."""
        flat = reader.floats(self.scales, start * self.groups, count * self.groups)
        return flat.reshape(count, self.groups)

    def floats(self, start: int, count: int, reader: TensorReader) -> NDArray[np.float32]:
        """Values ``[count, C]`` that the codes of ``count`` rows stand for."""
        codes = unpack(
            self.signed(start, count, reader), self.bits, (count * self.groups, self._group)
        )
        values = codes * self.row_scales(start, count, reader).reshape(-1, 1)
        return values.reshape(count, -1).astype(np.float32, copy=False)

    @property
    def _group(self) -> int:
        return self.shape[1] // self.groups


def packed_tensors(
    config: Mapping[str, Any], tensors: Mapping[str, StoredTensor], where: str
) -> dict[str, PackedTensor]:
    """The packed matrices of a checkpoint by the name their weight would have, those of towers too.

    Parts of a tower that do not fit together are left alone: a tower need not be exported.

    Args:
        config: The checkpoint's ``config.json``.
        tensors: Its directory.
        where: Shown in error messages.

    Raises:
        CheckpointError: The configuration of this format is malformed, matching its patterns does not end, or
            listing every matrix of the text model whose parts do not fit together.
    """
    quantisation = config.get("quantization_config")
    if not isinstance(quantisation, Mapping) or quantisation.get("quant_method") != METHOD:
        return {}
    modules, prefix = _parse_bits(quantisation, where), class_prefix(config)
    in_class = {
        module: _in_class(module, prefix)
        for _, scales_end in PARTS
        for module in (n.removesuffix(scales_end) for n in tensors if n.endswith(scales_end))
    }
    modules.check(tuple(in_class.values()), where)
    found: dict[str, PackedTensor] = {}
    problems: list[str] = []
    for codes_end, scales_end in PARTS:
        for name, scales in tensors.items():
            if name.endswith(scales_end):
                module = name.removesuffix(scales_end)
                codes = tensors.get(module + codes_end)
                bits = modules.of(in_class[module])
                if problem := _problem(module, codes, scales, bits):
                    problems += [] if is_tower(name) else [problem]
                elif codes is not None:
                    weight = f"{module}.weight"
                    found[weight] = PackedTensor(weight, codes, scales, bits)
    if problems:
        raise CheckpointError(f"{where}: {listed(problems)}")
    return found


def _in_class(module: str, prefix: str) -> str:
    """The name of a module in transformers' present class, which the patterns are meant for."""
    name = text_module(module)
    if is_tower(module):
        return f"model.{name}"
    return name if name.startswith("lm_head") else prefix + name


@dataclass(frozen=True)
class _Bits:
    """Bits of a module's codes: the first pattern that is found in its name decides."""

    default: int
    patterns: tuple[tuple[re.Pattern[str], int], ...]

    def check(self, modules: Sequence[str], where: str) -> None:
        """Match every pattern with every module's name, where that can be given up.

        Raises:
            CheckpointError: It does not end.
        """
        texts = tuple(pattern.pattern for pattern, _ in self.patterns)
        in_time("module_quant_configs", where, "".join(texts), search_all, texts, modules)

    def of(self, module: str) -> int:
        return next((n for pattern, n in self.patterns if pattern.search(module)), self.default)


def _parse_bits(quantisation: Mapping[str, Any], where: str) -> _Bits:
    problems: list[str] = []
    default = _number(quantisation, DEFAULT_BITS, "", problems)
    modules = quantisation.get("module_quant_configs") or {}
    if not isinstance(modules, Mapping):
        problems.append(f"module_quant_configs must be an object, found {modules!r}")
        modules = {}
    patterns = []
    for text, options in modules.items():
        try:
            patterns.append(
                (re.compile(text), _number(options, default, f" of {text!r}", problems))
            )
        except NO_PATTERN as error:
            problems.append(f"{text!r} is no regular expression ({error})")
    if problems:
        raise CheckpointError(f"{where}: quantization_config: {listed(problems)}")
    return _Bits(default, tuple(patterns))


def _number(options: object, default: int, of: str, problems: list[str]) -> int:
    if not isinstance(options, Mapping):
        problems.append(f"the options{of} must be an object, found {options!r}")
        return default
    bits = options.get("num_bits", default)
    if type(bits) is int:
        return bits
    problems.append(f"num_bits{of} must be a whole number, found {bits!r}")
    return default


def _problem(
    module: str, codes: StoredTensor | None, scales: StoredTensor, bits: int
) -> str | None:
    if codes is None:
        return f"{module} has scales and no codes"
    if codes.dtype != DTYPES.get(bits):
        return f"{module}: expected codes of 2, 4 or 8 bits as U8, U8 or I8, found {bits} as {codes.dtype}"
    if len(codes.shape) != 2 or len(scales.shape) != 2 or scales.shape[0] != codes.shape[0]:
        return f"{module}: codes {list(codes.shape)} and scales {list(scales.shape)} do not fit"
    if scales.shape[1] < 1 or (codes.shape[1] * 8 // bits) % scales.shape[1]:
        return f"{module}: {scales.shape[1]} scales do not divide a row of codes evenly"
    return None
