"""One graph of a bundle, compiled by LiteRT for the CPU, with its buffers allocated once.

Inputs are LiteRT's own buffers, written before a run. Outputs are numpy arrays that LiteRT writes to
directly. KV caches are neither: they belong to a sequence and are passed to each run. For the GPU
see ``gpu.graph``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from ai_edge_litert.options import CpuOptions, Options
from ai_edge_litert.tensor_buffer import TensorBuffer
from numpy.typing import NDArray

from exporter.bundle.reader import Bundle
from exporter.contract import Accelerator, Dtype, SignatureSpec, TensorSpec
from exporter.errors import BundleError, EngineError, OutputError
from runtime_py.litert.graph_parts import GraphParts
from runtime_py.litert.mapped_section import MappedSection
from runtime_py.litert.native_log import NativeLog, captured_native_log
from runtime_py.litert.resized_graph import Resizing

ALIGNMENT = 64  # bytes, of memory that LiteRT uses in place
OVERREAD = 128  # bytes that kernels may touch behind a buffer

IN_MEMORY = ":memory"
"""XNNPACK's name for a weight cache without a file.

Without any cache every signature packs the weights for itself: a 330 MB int4 bundle took 1064 MB of
memory and 0.57 s to open, and 426 MB and 0.31 s with this.
"""

ENGINE_XNNPACK_FLAGS = 0x1 | 0x2 | 0x8
"""Signed and unsigned 8 bit, dynamic fully connected: what the stock engine sets, and some 5 % faster
than what the Python wrapper leaves in place. Source: LiteRT-LM's ``CreateCompilationOptions``."""

NUMPY_TYPES: dict[Dtype, Any] = {
    Dtype.FLOAT32: np.float32,
    Dtype.INT32: np.int32,
    Dtype.INT8: np.int8,
    Dtype.BOOL: np.bool_,
}

Array = NDArray[Any]
Buffers = Mapping[str, Any]
"""KV caches by name, as LiteRT tensor buffers."""


@dataclass(frozen=True)
class Hardware:
    """What runs the graphs.

    ``threads`` None leaves the number to LiteRT; ``weight_cache`` is a folder for packed weights, None
    keeps them in memory (both: CPU). ``float16`` lets a GPU compute in half precision.
    """

    accelerator: Accelerator = Accelerator.CPU
    threads: int | None = None
    weight_cache: Path | None = None
    float16: bool = False

    @property
    def on_cpu(self) -> bool:
        return self.accelerator == Accelerator.CPU

    def options(self, cache_name: str) -> Any:
        """LiteRT's options for one model on the CPU.

        Raises:
            OutputError: There can be no folder for packed weights.
        """
        cache = IN_MEMORY
        if self.weight_cache is not None:
            _make_folder(self.weight_cache)
            cache = str(self.weight_cache / f"{cache_name}.xnnpack_cache")
        cpu = CpuOptions(
            num_threads=self.threads or 0,
            xnnpack_weight_cache_path=cache,
            xnnpack_flags=ENGINE_XNNPACK_FLAGS,
        )
        return Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=cpu)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}: packed weights cannot be kept there: {error.strerror}; choose another "
            "--weight-cache, or none"
        ) from error


class Graph:
    """A compiled graph, its caches resized if so wanted; close it when no signature is in use.

    Raises:
        BundleError: LiteRT refuses the graph; the message ends with LiteRT's own words.
        OutputError: There can be no folder for packed weights.
    """

    def __init__(
        self,
        bundle: Bundle,
        parts: GraphParts,
        environment: Any,
        hardware: Hardware,
        resizing: Resizing | None = None,
    ) -> None:
        self.where = f"{bundle.path}: {parts.name}"
        options = hardware.options(f"{bundle.path.stem}.{parts.name}")
        self.model: Any = None
        self._section = MappedSection(bundle.path, *parts.regions)
        try:
            if resizing is not None:
                self._section.edit(parts.graph_bytes, resizing.apply)
            self.model = self._compiled(environment, options)
        except BaseException:
            self.close()
            raise

    def _compiled(self, environment: Any, options: Any) -> Any:
        load = partial(CompiledModel.from_buffer, environment=environment, options=options)
        log = NativeLog()
        try:
            with captured_native_log() as log:
                return self._section.use(load)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise BundleError(
                f"{self.where}: LiteRT cannot load this section ({reason}){log.last_errors()}"
            ) from error

    @property
    def mapped(self) -> bool:
        """Whether the weights are mapped from the file."""
        return self._section.mapped

    def signature(self, name: str, spec: SignatureSpec, caches: frozenset[str]) -> Signature:
        """One signature, ready to run; arguments as for :class:`Signature`."""
        return Signature(self, name, spec, caches)

    def cache_buffer(self, signature: str, name: str, spec: TensorSpec) -> Any:
        """A zeroed cache that ``signature`` reads and writes."""
        details = self.model.get_input_tensor_details(signature)
        buffer = self.model.create_input_buffer_by_name(signature, name)
        buffer.write(np.zeros(spec.shape, dtype=np.dtype(details[name]["dtype"])))
        return buffer

    def close(self) -> None:
        """Release the model, then its bytes."""
        self.model = None
        self._section.close()


class Signature:
    """One signature of a graph with its input and output buffers.

    Args:
        graph: The compiled section.
        name: The signature's name in the file.
        spec: What the contract says of it.
        caches: Names of its KV caches, which are passed to each run instead.
    """

    def __init__(
        self, graph: Graph, name: str, spec: SignatureSpec, caches: frozenset[str]
    ) -> None:
        self._graph = graph
        self._index = graph.model.get_signature_index(name)
        names = graph.model.get_signature_list()[name]
        self._input_names: list[str] = names["inputs"]
        self._output_names: list[str] = names["outputs"]
        self._inputs = {
            key: graph.model.create_input_buffer_by_name(name, key)
            for key in self._input_names
            if key not in caches
        }
        self.outputs = {
            key: Output(spec.outputs[key]) for key in self._output_names if key not in caches
        }
        self._output_buffers = {key: output.buffer for key, output in self.outputs.items()}

    def write(self, name: str, values: Array) -> None:
        """Set an input; ``values`` has its type and number of elements.

        Raises:
            EngineError: LiteRT failed.
        """
        try:
            self._inputs[name].write(values)
        except RuntimeError as error:
            raise EngineError(f"{self._graph.where}: LiteRT failed: {error}") from error

    def run(self, reads: Buffers | None = None, writes: Buffers | None = None) -> None:
        """Run on the inputs written, over caches to read and caches to write (may be the same).

        Raises:
            EngineError: LiteRT failed.
        """
        known = {**self._inputs, **(reads or {})}
        results = {**self._output_buffers, **(writes or {})}
        try:
            self._graph.model.run_by_index(
                self._index,
                [known[key] for key in self._input_names],
                [results[key] for key in self._output_names],
            )
        except RuntimeError as error:
            raise EngineError(f"{self._graph.where}: LiteRT failed: {error}") from error

    def output(self, name: str) -> Array:
        """An output of the last run, in its shape; valid until the next one."""
        return self.outputs[name].values()


class Output:
    """An output buffer and its values, which LiteRT writes in place."""

    def __init__(self, spec: TensorSpec) -> None:
        self._array = aligned(spec)
        self.buffer = TensorBuffer.create_from_host_memory(self._array)

    def values(self) -> Array:
        """The values: the buffer itself."""
        return self._array


def aligned(spec: TensorSpec) -> Array:
    """Zeroed memory that LiteRT can use in place."""
    kind = np.dtype(NUMPY_TYPES[spec.dtype])
    nbytes = int(np.prod(spec.shape)) * kind.itemsize
    memory = np.zeros(nbytes + ALIGNMENT + OVERREAD, dtype=np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    values: Array = memory[begin : begin + nbytes].view(kind)
    return values.reshape(spec.shape)
