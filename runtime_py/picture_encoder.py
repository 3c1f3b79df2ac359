"""Pictures as soft tokens: a file's content through a bundle's graphs for pictures."""

from __future__ import annotations

from hashlib import sha256

import numpy as np

from exporter.bundle.reader import Bundle
from exporter.errors import BundleError
from runtime_py.litert.hardware import Hardware
from runtime_py.litert.pictures import PictureGraphs, find_pictures
from runtime_py.loop.executor import Lookups
from runtime_py.soft_tokens import SoftPicture

KEPT = 8
"""Pictures that are remembered: several questions about one encode it once."""


class PictureEncoder:
    """Encodes pictures for prompts; close it when done.

    Args:
        bundle: Its header.
        tokens: The embeddings of the bundle's tokens.
        hardware: Where to run.
        image_tokens: The most tokens that a picture becomes; by default as many as the bundle allows.

    Raises:
        BundleError: The bundle takes no pictures, or not of so many tokens, or is damaged.
        EngineError: There is no such hardware.
        OutputError: There can be no folder for packed weights.
    """

    def __init__(
        self, bundle: Bundle, tokens: Lookups, hardware: Hardware, image_tokens: int | None = None
    ) -> None:
        contract = find_pictures(bundle)
        if contract is None:
            raise BundleError(f"{bundle.path}: expected a bundle that takes pictures, found none")
        most = contract.image_tokens[-1]
        if image_tokens is not None and image_tokens > most:
            raise BundleError(
                f"{bundle.path}: expected a budget of at most {most} tokens for a picture, found "
                f"{image_tokens}; export it with --image-tokens {image_tokens}"
            )
        self.tokens, self._image_tokens = tokens, image_tokens or most
        gemma = bundle.llm_metadata().llm_model_type.gemma4
        self.opening: str = gemma.start_of_image_token.token_str
        """The text of the token in front of a picture."""
        self._graphs = PictureGraphs(bundle, contract, hardware)
        self._kept: dict[bytes, SoftPicture] = {}

    def encode(self, content: bytes) -> SoftPicture:
        """What stands for a picture, from the content of its file.

        Raises:
            MediaError: It cannot be decoded.
            EngineError: LiteRT failed.
        """
        from runtime_py.picture_file import picture_patches  # which needs an extra

        key = sha256(content).digest()
        if key not in self._kept:
            patches = picture_patches(content, self._graphs.contract, self._image_tokens)
            rows = [*self._graphs.soft_tokens(patches), self._graphs.end()]
            if len(self._kept) == KEPT:
                self._kept.pop(next(iter(self._kept)))  # the oldest
            self._kept[key] = SoftPicture(key, np.stack(rows))
        return self._kept[key]

    def close(self) -> None:
        """Release the graphs."""
        self._graphs.close()
