"""The JSON files beside a checkpoint's weights that settle how text is generated, in order of authority."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from exporter.checkpoints.checkpoint import GENERATION, TOKENIZER_SETTINGS, Checkpoint
from exporter.path_kind import CONFIG


@dataclass(frozen=True)
class TextSettings:
    """What a checkpoint says of generation and of its tokenizer; what is not there is empty."""

    where: str
    """The checkpoint's folder, for messages."""
    generation: dict[str, Any]
    tokenizer: dict[str, Any]
    config: dict[str, Any]

    @staticmethod
    def of(target: Checkpoint) -> TextSettings:
        """Read the files of a checkpoint.

        Raises:
            CheckpointError: One of them is not a JSON object.
        """
        return TextSettings(
            str(target.folder),
            target.json_file(GENERATION) or {},
            target.json_file(TOKENIZER_SETTINGS) or {},
            target.config,
        )

    def stated(self, key: str) -> Iterator[tuple[str, Any]]:
        """Values of ``key`` that are not null, with the file of each; the first one counts."""
        text = self.config.get("text_config")
        for file, found in (
            (GENERATION, self.generation),
            (CONFIG, self.config),
            (f"{CONFIG}: text_config", text if isinstance(text, dict) else {}),
        ):
            if (value := found.get(key)) is not None:
                yield file, value

    def token_text(self, key: str) -> str | None:
        """The text of a token that tokenizer_config.json names, at its top level or among the extra ones.

        A name stands for a text, or for the whole AddedToken, as older transformers write it.
        """
        extra = self.tokenizer.get("extra_special_tokens")
        named = {**self.tokenizer, **(extra if isinstance(extra, dict) else {})}
        value = named.get(key)
        if isinstance(value, dict):
            value = value.get("content")
        return value if isinstance(value, str) else None
