"""What goes into a tower in a verification: a picture or a piece of a clip, whatever it is of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime_py.litert.towers import Floats

DIRT = 37.0
"""A colour that no picture has, and a logarithm of an energy that no clip has, for padding."""


@dataclass(frozen=True)
class TowerInput:
    """A picture or a piece of a clip as an encoder takes it, padding included."""

    where: str
    """The signature's size, in words."""
    encoder: str
    adapter: str
    """Signatures."""
    arrays: Mapping[str, NDArray[Any]]
    """What the encoder takes, by name, in the order of the torch tower's arguments; the first is the content,
    colours of patches or mel energies of frames, ``[rows, C]``."""
    own: int
    """Rows of the content that are no padding; they come first."""
    zero: float = 0.0
    """What of the content the tower takes for zero."""

    @property
    def content(self) -> Floats:
        """Colours or energies, ``[rows, C]``."""
        found: Floats = next(iter(self.arrays.values()))
        return found

    @property
    def fills(self) -> bool:
        """Whether there is no padding."""
        return self.own == len(self.content)

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"{self.where}, {'full' if self.fills else 'padded'}"

    def with_own(self, rows: Floats) -> TowerInput:
        """Another content ``[own, C]`` before the padding."""
        return self._with(np.concatenate([rows, self.content[self.own :]]))

    def soiled(self) -> TowerInput:
        """Another padding behind the content."""
        return self._with(
            np.concatenate([self.content[: self.own], np.full_like(self.content[self.own :], DIRT)])
        )

    def _with(self, content: Floats) -> TowerInput:
        name = next(iter(self.arrays))
        return replace(self, arrays={**self.arrays, name: content.astype(np.float32)})


@dataclass(frozen=True)
class AskedFile:
    """A picture or a clip that questions are about."""

    content: bytes
    """Of the file that the engine is given."""
    pieces: tuple[TowerInput, ...]
    """What becomes of it; each is encoded by itself."""
