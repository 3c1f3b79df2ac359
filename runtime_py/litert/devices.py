"""Which section runs where: lookups on the CPU, target and drafter on the accelerator asked for."""

from __future__ import annotations

from typing import Any

from ai_edge_litert.environment import Environment as CpuEnvironment

from exporter.bundle.reader import Bundle
from exporter.contract import Accelerator, Contract, Section
from exporter.errors import BundleError
from runtime_py.litert.gpu.graph import GpuGraph, GpuSignature
from runtime_py.litert.gpu.litert_c import Environment as GpuEnvironment
from runtime_py.litert.graph import Graph, Hardware, Signature
from runtime_py.litert.graph_parts import GraphParts
from runtime_py.litert.resized_graph import Resizing

ACCELERATED = frozenset({Section.PREFILL_DECODE, Section.MTP_DRAFTER})
"""The tables of the other sections are never moved to an accelerator; the stock engine agrees."""

AnyGraph = Graph | GpuGraph
AnySignature = Signature | GpuSignature


class Devices:
    """LiteRT's environments, one per device in use."""

    def __init__(self, hardware: Hardware) -> None:
        self.hardware = hardware
        self._cpu: Any = None
        self._gpu: GpuEnvironment | None = None

    def graph(
        self, bundle: Bundle, section: Section, parts: GraphParts, resizing: Resizing | None
    ) -> AnyGraph:
        """A graph, compiled for the device that its section runs on.

        Args:
            bundle: Where it is.
            section: What it does.
            parts: The graph itself.
            resizing: What to change before, on the CPU.

        Raises:
            BundleError: LiteRT refuses it.
            EngineError: There is no such device.
        """
        if self.hardware.on_cpu or section not in ACCELERATED:
            if self._cpu is None:
                self._cpu = CpuEnvironment.create()
            return Graph(bundle, parts, self._cpu, self.hardware, resizing)
        if self._gpu is None:
            self._gpu = GpuEnvironment()
        return GpuGraph(bundle, parts, self._gpu, float16=self.hardware.float16)

    def close(self) -> None:
        """Release the devices; graphs must be closed before."""
        self._cpu = None
        if self._gpu is not None:
            self._gpu.close()
            self._gpu = None


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
