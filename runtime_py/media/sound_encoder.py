"""Sounds as soft tokens: a file's content through a bundle's graphs for sound."""

from __future__ import annotations

from exporter.bundle.reader import Bundle
from exporter.errors import BundleError
from runtime_py.litert.hardware import Hardware
from runtime_py.litert.sounds import SoundGraphs, find_sound
from runtime_py.loop.executor import Floats


class SoundEncoder:
    """Encodes sounds; an :class:`~runtime_py.media.media_encoder.Encoder`.

    Args:
        bundle: Its header.
        hardware: Where to run.

    Raises:
        BundleError: The bundle takes no sounds, or is damaged.
        EngineError: There is no such hardware.
        OutputError: There can be no folder for packed weights.
    """

    def __init__(self, bundle: Bundle, hardware: Hardware) -> None:
        contract = find_sound(bundle)
        if contract is None:
            raise BundleError(
                f"{bundle.path}: expected a manifest that says what sounds the bundle takes, found none: "
                "export it again"
            )
        gemma = bundle.llm_metadata().llm_model_type.gemma4
        self.opening: str = gemma.start_of_audio_token.token_str
        self.graphs = SoundGraphs(bundle, contract, hardware)

    def encode(self, content: bytes) -> Floats:
        """The embeddings ``[n, H]`` of a sound, from the content of its file.

        Raises:
            MediaError: It cannot be decoded.
            EngineError: LiteRT failed.
        """
        from runtime_py.media.log_mel import log_mel
        from runtime_py.media.sound_file import sound_samples  # which needs an extra

        return self.graphs.soft_tokens(log_mel(sound_samples(content)))
