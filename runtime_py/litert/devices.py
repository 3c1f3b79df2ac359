"""Which section runs where: lookups on the CPU, target and drafter on the accelerator asked for."""

from __future__ import annotations

from exporter.bundle.reader import Bundle
from exporter.contract import Accelerator, Contract, Section
from exporter.errors import BundleError
from runtime_py.litert.c_api import Environment
from runtime_py.litert.gpu.graph import GpuGraph
from runtime_py.litert.graph import CpuGraph, Graph
from runtime_py.litert.graph_parts import GraphParts
from runtime_py.litert.hardware import Hardware, gpu_options
from runtime_py.litert.resized_graph import Resizing

ACCELERATED = frozenset({Section.PREFILL_DECODE, Section.MTP_DRAFTER})
"""The tables of the other sections are never moved to an accelerator; the stock engine agrees."""


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
        """
        if self.hardware.on_cpu or section not in ACCELERATED:
            options = self.hardware.options(f"{bundle.path.stem}.{parts.name}")
            environment = self._environment(Accelerator.CPU)
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
