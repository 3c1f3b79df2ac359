"""Signatures of a LiteRT file as calls without arguments: buffers made once, values that do not matter.

Kernels take the same time for any values, so inputs are small noise and zeros. KV caches are the same
buffers as input and output, as the engine and the reference runtime have it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np

from exporter.bundle.reader import Bundle, BundleSection
from exporter.bundle.stored_contract import stored_contract
from exporter.contract.names import Accelerator, Section
from runtime_py.litert.c_api import Environment, HostBuffer
from runtime_py.litert.compiled_model import CompiledModel, CompileOptions
from runtime_py.litert.hardware import cpu_options
from runtime_py.litert.mapped_section import FileRegion, MappedSection
from runtime_py.litert.native_log import captured_native_log
from runtime_py.litert.resized_graph import Resizing

SEED = 0

Edit = tuple[int, Callable[[memoryview], object]]
"""How many bytes of a file to change once they are mapped, and how."""


def resizing_edit(bundle: Bundle, entry: BundleSection) -> Edit | None:
    """What gives a section's graph the cache length that the bundle says; None if it has it.

    A bundle of another tool has no manifest; its graphs are taken as they are.
    """
    manifest = bundle.manifest()
    if manifest is None:
        return None
    resizing = Resizing.of(stored_contract(bundle.path, manifest))
    return None if resizing is None else (entry.graph_bytes, resizing.apply)


class LitertFile:
    """A model in a file, or a section of a bundle; its bytes are mapped. Close it after use."""

    def __init__(
        self,
        path: Path,
        *options: CompileOptions,
        begin: int = 0,
        nbytes: int | None = None,
        edit: Edit | None = None,
    ) -> None:
        size = path.stat().st_size if nbytes is None else nbytes
        self.caches: dict[str, HostBuffer] = {}
        section = MappedSection(path, FileRegion(begin, size))
        if edit is not None:
            section.edit(*edit)
        with captured_native_log():
            self.environment = Environment(Accelerator.CPU)
            self.model = CompiledModel(self.environment, section.content, *options)

    def close(self) -> None:
        """Release the model; no signature may be run any more."""
        self.model.close()
        self.environment.close()

    @classmethod
    def of(cls, path: Path, threads: int = 1) -> Self:
        """Opened as the reference runtime opens sections, with ``threads`` threads."""
        return cls(path, cpu_options(threads))

    @classmethod
    def section(cls, bundle: Bundle, section: Section, options: CompileOptions) -> Self:
        """One section of a bundle, with caches of the length that the bundle says."""
        entry = bundle.model(section)
        assert entry is not None
        edit = resizing_edit(bundle, entry)
        return cls(bundle.path, options, begin=entry.begin, nbytes=entry.nbytes, edit=edit)

    def call(self, signature: str) -> PreparedCall:
        """One of its signatures, ready to run."""
        return PreparedCall(self, signature)


class PreparedCall:
    """One signature and its buffers; calling it runs it."""

    def __init__(self, file: LitertFile, name: str) -> None:
        tensors, environment = file.model.signatures[name], file.environment
        self._file = file  # it has the model
        noise = np.random.default_rng(SEED)
        self.inputs: dict[str, HostBuffer] = {}
        for key, tensor in tensors.inputs.items():
            buffer = file.caches.get(key) or HostBuffer(environment, tensor)
            if buffer.values.dtype == np.float32 and key not in file.caches:
                buffer.values[...] = noise.standard_normal(tensor.shape)
            if key in tensors.outputs:
                file.caches[key] = buffer
            self.inputs[key] = buffer
        self.outputs = {
            key: file.caches.get(key) or HostBuffer(environment, tensor)
            for key, tensor in tensors.outputs.items()
        }
        self._call = file.model.call(name, self.inputs, self.outputs)

    def __call__(self) -> None:
        self._call()
