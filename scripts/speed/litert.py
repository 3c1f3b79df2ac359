"""Signatures of a LiteRT file as calls without arguments: buffers made once, values that do not matter.

Kernels take the same time for any values, so inputs are small noise and zeros. KV caches are the same
buffers as input and output, as the engine and the reference runtime have it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.environment import Environment

from exporter.bundle.reader import Bundle, BundleSection
from exporter.bundle.stored_contract import stored_contract
from exporter.contract import Section
from runtime_py.litert.graph import Hardware
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
        options: Any,
        *,
        begin: int = 0,
        nbytes: int | None = None,
        edit: Edit | None = None,
    ) -> None:
        size = path.stat().st_size if nbytes is None else nbytes
        self.model: Any = None
        self.caches: dict[str, Any] = {}
        self._section = MappedSection(path, FileRegion(begin, size))
        try:
            if edit is not None:
                self._section.edit(*edit)
            environment = Environment.create()
            load = partial(CompiledModel.from_buffer, environment=environment, options=options)
            with captured_native_log():
                self.model = self._section.use(load)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release buffers and model, then the bytes; no signature may be run any more."""
        self.caches.clear()
        self.model = None
        self._section.close()

    @classmethod
    def of(cls, path: Path, threads: int = 1) -> Self:
        """Opened as the reference runtime opens sections, with ``threads`` threads."""
        return cls(path, Hardware(threads=threads).options(path.stem))

    @classmethod
    def section(cls, bundle: Bundle, section: Section, options: Any) -> Self:
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
        model, caches = file.model, file.caches
        self._file, self._index = file, model.get_signature_index(name)
        names = model.get_signature_list()[name]
        details = model.get_input_tensor_details(name)
        noise = np.random.default_rng(SEED)
        self.inputs: list[Any] = []
        for key in names["inputs"]:
            if key in caches:
                self.inputs.append(caches[key])
                continue
            buffer = model.create_input_buffer_by_name(name, key)
            shape, kind = details[key]["shape"], np.dtype(details[key]["dtype"])
            values = noise.standard_normal(shape) if kind == np.float32 else np.zeros(shape)
            buffer.write(values.astype(kind))
            self.inputs.append(buffer)
            if key in names["outputs"]:
                caches[key] = buffer
        self.outputs = [
            caches[key] if key in caches else model.create_output_buffer_by_name(name, key)
            for key in names["outputs"]
        ]

    def __call__(self) -> None:
        self._file.model.run_by_index(self._index, self.inputs, self.outputs)
