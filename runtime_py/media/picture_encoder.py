"""Pictures as soft tokens: a file's content through a bundle's graphs for pictures."""

from __future__ import annotations

from exporter.bundle.reader import Bundle
from exporter.bundle.stored_pictures import picture_budget
from exporter.errors import BundleError
from runtime_py.litert.hardware import Hardware
from runtime_py.litert.pictures import PictureGraphs, find_pictures
from runtime_py.loop.executor import Floats


class PictureEncoder:
    """Encodes pictures; an :class:`~runtime_py.media.media_encoder.Encoder`.

    Args:
        bundle: Its header.
        hardware: Where to run.
        image_tokens: The most tokens that a picture becomes; by default as many as the bundle allows.

    Raises:
        BundleError: The bundle takes no pictures, or not of so many tokens, or is damaged.
        EngineError: There is no such hardware.
        OutputError: There can be no folder for packed weights.
    """

    def __init__(self, bundle: Bundle, hardware: Hardware, image_tokens: int | None = None) -> None:
        contract = find_pictures(bundle)
        if contract is None:
            raise BundleError(
                f"{bundle.path}: expected a manifest that says what pictures the bundle takes, found none: "
                "export it again"
            )
        self._image_tokens = picture_budget(bundle.path, contract, image_tokens)
        gemma = bundle.llm_metadata().llm_model_type.gemma4
        self.opening: str = gemma.start_of_image_token.token_str
        self.graphs = PictureGraphs(bundle, contract, hardware)

    def encode(self, content: bytes) -> Floats:
        """The embeddings ``[n, H]`` of a picture, from the content of its file.

        Raises:
            MediaError: It cannot be decoded.
            EngineError: LiteRT failed.
        """
        from runtime_py.media.picture_file import picture_patches  # which needs an extra

        patches = picture_patches(content, self.graphs.contract, self._image_tokens)
        return self.graphs.soft_tokens(patches)
