"""The graphs of a tower, compiled: encoder, adapter, and the embedding of the token at the end.

Axes: T soft tokens of a signature, n of them a picture's or a clip's own, D the tower's width, H the text
model's. What goes into encoders is known by :mod:`~runtime_py.litert.pictures` and
:mod:`~runtime_py.litert.sounds`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from exporter.bundle.reader import Bundle
from exporter.bundle.signature_check import find_signatures
from exporter.contract.names import EMBEDDINGS, MASK, Section, SignatureSpec
from exporter.contract.vision import FEATURES
from exporter.errors import BundleError
from runtime_py.litert.graph import Graph, section_parts
from runtime_py.litert.hardware import Devices, Hardware
from runtime_py.litert.native_log import captured_native_log

Floats = NDArray[np.float32]
Manifest = Mapping[str, Any] | None
StatedT = TypeVar("StatedT")


def stated(bundle: Bundle, read: Callable[[Manifest], StatedT | None]) -> StatedT | None:
    """What a bundle's manifest says of a tower; None where it has none, or another tool made the bundle.

    Raises:
        BundleError: The manifest is damaged.
    """
    try:
        return read(bundle.manifest())
    except ValueError as error:
        raise BundleError(f"{bundle.path}: {error}") from error


class TowerGraphs:
    """Runs the sections of a tower; close it when done.

    Args:
        bundle: Its header.
        wanted: The tower's sections with their signatures.
        end: The signature for the end.
        hardware: Where to run; :class:`~runtime_py.litert.hardware.Devices` decides which sections go there.

    Raises:
        BundleError: The graphs are not what was wanted, or LiteRT refuses them.
        EngineError: There is no such device.
        OutputError: There can be no folder for packed weights.
    """

    def __init__(
        self,
        bundle: Bundle,
        wanted: Mapping[Section, Mapping[str, SignatureSpec]],
        end: str,
        hardware: Hardware,
    ) -> None:
        self.where, self._end = bundle.path, end
        self._devices = Devices(hardware)
        found = find_signatures(bundle, wanted)
        self._specs = {one.name: one.spec for one in found}
        self._graphs: dict[Section, Graph] = {}
        self.signatures: dict[str, Any] = {}
        try:
            with captured_native_log():
                for section in wanted:
                    parts = section_parts(bundle, section)
                    self._graphs[section] = self._devices.graph(bundle, section, parts, None)
                for one in found:
                    self.signatures[one.name] = self._graphs[one.section].signature(
                        one.in_file, one.spec, frozenset()
                    )
        except BaseException:
            self.close()
            raise

    def encode_inputs(self, signature: str, inputs: Mapping[str, NDArray[Any]]) -> Floats:
        """Features of what is no padding, ``[n, D]``.

        Args:
            signature: Of the encoder.
            inputs: By name; padding included.

        Raises:
            EngineError: LiteRT failed.
        """
        encoder = self.signatures[signature]
        for name, values in inputs.items():
            encoder.write(name, values)
        encoder.run()
        own = int(encoder.output(MASK).astype(bool).sum())  # they come first
        features: Floats = encoder.output(FEATURES)[0, :own].copy()
        return features

    def adapt_features(self, signature: str, features: Floats) -> Floats:
        """Embeddings ``[n, H]`` for features ``[n, D]``, by a signature of the adapter.

        Raises:
            EngineError: LiteRT failed.
        """
        adapter, inputs = self.signatures[signature], self._specs[signature].inputs
        _, tokens, width = inputs[FEATURES].shape
        padded = np.zeros((tokens, width), np.float32)
        padded[: len(features)] = features
        adapter.write(FEATURES, padded)
        if MASK in inputs:
            adapter.write(MASK, np.arange(tokens) < len(features))
        adapter.run()
        embeddings: Floats = adapter.output(EMBEDDINGS)[0, : len(features)].copy()
        return embeddings

    def end(self) -> Floats:
        """The embedding of the token behind a picture or a sound, ``[H]``.

        Raises:
            EngineError: LiteRT failed.
        """
        self.signatures[self._end].run()
        row: Floats = self.signatures[self._end].output(EMBEDDINGS)[0, 0].copy()
        return row

    def close(self) -> None:
        """Release LiteRT's models."""
        self.signatures = {}
        with captured_native_log():
            for graph in self._graphs.values():
                graph.close()
            self._devices.close()
