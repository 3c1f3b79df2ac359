"""The executor on ONNX Runtime: the models of a folder, behind calls on tokens."""

from __future__ import annotations

from exporter.bundle.onnx_folder import OnnxFolder
from exporter.bundle.signature_check import wanted_sections
from exporter.contract.names import Section
from exporter.contract.text import Contract
from runtime_py.graph_executor import GraphExecutor
from runtime_py.loop.executor import Floats
from runtime_py.onnx.session import OnnxCache, OnnxSettings, OnnxSignature

LOOKUPS = (Section.EMBEDDER, Section.PER_LAYER_EMBEDDER)
"""Sections whose work is too small to be shared among threads."""


class OnnxExecutor(GraphExecutor[OnnxCache]):
    """Runs a folder made by ``export --format onnx``; an :class:`~runtime_py.loop.executor.Executor`.

    Args:
        folder: The folder.
        agreed: Its contract, with the cache length to use.
        threads: None leaves the number to ONNX Runtime.
        drafting: False leaves the drafter and ``verify`` out.

    Raises:
        BundleError: The models are not what the contract says, or ONNX Runtime refuses them.
    """

    def __init__(
        self,
        folder: OnnxFolder,
        agreed: Contract,
        threads: int | None = None,
        *,
        drafting: bool = True,
    ) -> None:
        super().__init__(agreed, drafting=drafting)
        caches = agreed.kv_specs()
        self.signatures = {
            name: OnnxSignature(
                folder.model(name),
                name,
                spec,
                caches,
                OnnxSettings(agreed.cache_length, 1 if section in LOOKUPS else threads),
            )
            for section, specs in wanted_sections(agreed, drafting=self._drafting).items()
            for name, spec in specs.items()
        }

    def new_cache(self) -> OnnxCache:
        """A zeroed cache."""
        return OnnxCache(self.contract.kv_specs())

    def read_cache(self, cache: OnnxCache) -> dict[str, Floats]:
        """A copy of the arrays."""
        return {name: array.copy() for name, array in cache.arrays.items()}

    def close(self) -> None:
        """Release the models; caches made here must not be used again."""
        self.signatures = {}
