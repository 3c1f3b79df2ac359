"""Where graphs run: lookups and towers on the CPU, target and drafter on the accelerator asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from exporter.bundle.reader import Bundle
from exporter.contract.names import Accelerator, Section
from exporter.contract.text import Contract
from exporter.errors import BundleError
from runtime_py.litert.c_api import Environment
from runtime_py.litert.compiled_model import CompileOptions
from runtime_py.litert.gpu.graph import GpuGraph
from runtime_py.litert.graph import CpuGraph, Graph, GraphParts
from runtime_py.litert.resized_graph import Resizing
from runtime_py.weight_cache import content_key, kept_file

IN_MEMORY = ":memory"
"""XNNPACK's name for a weight cache without a file.

Without any cache every signature packs the weights for itself: a 330 MB int4 bundle took 1064 MB of
memory and 0.57 s to open, and 426 MB and 0.31 s with this.
"""

LITERT = "ai-edge-litert"
"""The package that packs weights."""

ENGINE_XNNPACK_FLAGS = 0x1 | 0x2 | 0x8
"""Signed and unsigned 8 bit, dynamic fully connected: what the stock engine sets, and some 5 % faster
than LiteRT's own choice. Source: LiteRT-LM's ``CreateCompilationOptions``."""

GPU_OPTIONS = """\
external_tensors_mode = false
external_tensor_patterns = ["kv_cache_", "param_tensor"]
buffer_storage_tensor_patterns = ["kv_cache_", "param_tensor"]
enable_constant_tensors_sharing = true
enable_infinite_float_capping = true
precision = {precision}
"""
"""What the stock engine sets. The patterns name the tensors that stay on the device in its layout.
Without sharing, the delegate folds the final norm into the head and ``activations`` is never made.
Source: LiteRT-LM's ``CreateCompilationOptions``."""

FLOAT16, FLOAT32 = 1, 2  # kLiteRtDelegatePrecisionFp16, ...Fp32

ACCELERATED = frozenset({Section.PREFILL_DECODE, Section.MTP_DRAFTER})
"""The tables of embeddings are never moved to an accelerator, by the stock engine neither. It moves the
encoders of pictures and sound; here towers stay on the CPU."""


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

    @contextmanager
    def cpu_options(self, bundle: Bundle, parts: GraphParts) -> Iterator[CompileOptions]:
        """For compiling a graph on the CPU within the block; then its packed weights are kept, if so wanted.

        Raises:
            BundleError: The sections that weights were packed from do not have their checksums.
            OutputError: They cannot be kept.
        """
        if self.weight_cache is None:
            yield cpu_options(self.threads)
            return
        key = content_key(bundle, parts.sections, LITERT, f"flags {ENGINE_XNNPACK_FLAGS}")
        file = self.weight_cache / f"{parts.name}-{key}.xnnpack_cache"
        with kept_file(file, bundle, parts.sections) as path:
            yield cpu_options(self.threads, str(path))


def cpu_options(threads: int | None, weight_cache: str = IN_MEMORY) -> CompileOptions:
    """For a graph on the CPU; an empty ``weight_cache`` is none."""
    toml = f"num_threads = {threads or 0}\nflags = {ENGINE_XNNPACK_FLAGS}\n"
    if weight_cache:
        toml += f'weight_cache_file_path = "{weight_cache}"\n'
    return CompileOptions(b"xnnpack", toml)


def gpu_options(*, float16: bool) -> CompileOptions:
    """For any graph on a GPU."""
    precision = FLOAT16 if float16 else FLOAT32
    return CompileOptions(b"gpu_options", GPU_OPTIONS.format(precision=precision))


class Devices:
    """LiteRT's environments, one per device in use."""

    def __init__(self, hardware: Hardware) -> None:
        self.hardware = hardware
        self._environments: dict[Accelerator, Environment] = {}

    def graph(
        self, bundle: Bundle, section: Section, parts: GraphParts, resizing: Resizing | None
    ) -> Graph:
        """A graph, compiled for the device that its section runs on.

        Args:
            bundle: Where it is.
            section: What it does.
            parts: The graph itself.
            resizing: What to change before, on the CPU.

        Raises:
            BundleError: LiteRT refuses it.
            EngineError: There is no such device.
            OutputError: Its packed weights cannot be kept.
        """
        if self.hardware.on_cpu or section not in ACCELERATED:
            environment = self._environment(Accelerator.CPU)
            with self.hardware.cpu_options(bundle, parts) as options:
                return CpuGraph(bundle, parts, environment, options, resizing)
        options = gpu_options(float16=self.hardware.float16)
        return GpuGraph(bundle, parts, self._environment(Accelerator.GPU), options)

    def _environment(self, accelerator: Accelerator) -> Environment:
        if accelerator not in self._environments:
            self._environments[accelerator] = Environment(accelerator)
        return self._environments[accelerator]

    def close(self) -> None:
        """Release the devices; graphs must be closed before."""
        while self._environments:
            self._environments.popitem()[1].close()


def require_accelerator(bundle: Bundle, agreed: Contract, hardware: Hardware) -> None:
    """Refuse graphs that a GPU's delegate would leave to the CPU.

    Raises:
        BundleError: The bundle was exported for the CPU and is to run on a GPU.
    """
    if not hardware.on_cpu and agreed.accelerator is Accelerator.CPU:
        raise BundleError(
            f"{bundle.path}: expected a bundle for the GPU, found one for the CPU; export it again "
            "with --accelerator gpu"
        )
