"""Pictures and sounds of prompts as soft tokens; each is encoded once, however often it is asked about."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from typing import Protocol

import numpy as np

from exporter.bundle.engine_template import Json
from exporter.bundle.reader import Bundle
from exporter.errors import EngineError
from runtime_py.chat.media import MediaError, Medium, content_of, require_media
from runtime_py.litert.hardware import Hardware
from runtime_py.litert.towers import TowerGraphs
from runtime_py.loop.executor import Floats, Lookups
from runtime_py.media.picture_encoder import PictureEncoder
from runtime_py.media.soft_tokens import SoftPart
from runtime_py.media.sound_encoder import SoundEncoder

KEPT = 8
"""How many pictures and sounds are remembered, the latest ones."""


class Encoder(Protocol):
    """What encodes files of one kind."""

    opening: str
    """The text of the token that stands in front of a picture or a sound."""

    @property
    def graphs(self) -> TowerGraphs: ...

    def encode(self, content: bytes) -> Floats:
        """The embeddings of a file's content, ``[n, H]``."""


class MediaEncoder:
    """Encodes pictures, sounds or both for prompts; close it when done.

    Args:
        bundle: Its header.
        tokens: The embeddings of the bundle's tokens.
        hardware: Where to run.
        media: What there may be in prompts.
        image_tokens: The most tokens that a picture becomes; by default as many as the bundle allows.

    Raises:
        BundleError: The bundle does not take these, or no pictures of so many tokens, or is damaged.
        EngineError: There is no such hardware.
        OutputError: There can be no folder for packed weights.
    """

    def __init__(
        self,
        bundle: Bundle,
        tokens: Lookups,
        hardware: Hardware,
        media: Collection[Medium],
        image_tokens: int | None = None,
    ) -> None:
        require_media(bundle, media)
        self.tokens = tokens
        self._encoders: dict[Medium, Encoder] = {}
        self._kept: dict[bytes, SoftPart] = {}
        try:
            if Medium.IMAGE in media:
                self._encoders[Medium.IMAGE] = PictureEncoder(bundle, hardware, image_tokens)
            if Medium.AUDIO in media:
                self._encoders[Medium.AUDIO] = SoundEncoder(bundle, hardware)
        except BaseException:
            self.close()
            raise

    def opening(self, medium: Medium) -> str:
        """The text of the token in front of a picture or a sound.

        Raises:
            EngineError: It is of a kind that is not encoded here.
        """
        return self._encoder(medium).opening

    def encode(self, part: Json) -> SoftPart:
        """What stands for a picture or a sound.

        Raises:
            MediaError: It cannot be read or decoded.
            EngineError: It is of a kind that is not encoded here, or LiteRT failed.
        """
        encoder = self._encoder(Medium(part["type"]))
        content = content_of(part)
        key = sha256(content).digest()
        if key not in self._kept:
            rows = np.stack([*_encoded(encoder, content, part), encoder.graphs.end()])
            if len(self._kept) == KEPT:
                self._kept.pop(next(iter(self._kept)))  # the oldest
            self._kept[key] = SoftPart(key, rows)
        return self._kept[key]

    def _encoder(self, medium: Medium) -> Encoder:
        if medium not in self._encoders:
            raise EngineError(
                f"the model was opened without {medium.noun}s: open it with media=[Medium.{medium.name}]"
            )
        return self._encoders[medium]

    def close(self) -> None:
        """Release the graphs."""
        for encoder in self._encoders.values():
            encoder.graphs.close()


def _encoded(encoder: Encoder, content: bytes, part: Json) -> Floats:
    """The embeddings of a part; an error names its file."""
    try:
        return encoder.encode(content)
    except MediaError as error:
        where = f"{part['path']}: " if "path" in part else ""
        raise MediaError(f"{where}{error}") from error
