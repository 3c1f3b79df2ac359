"""What tokenizer and chat template are read from: a bundle, or a folder of the same content."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class TextSource(Protocol):
    """The text side of an export."""

    @property
    def path(self) -> Path:
        """Named in messages."""

    def llm_metadata(self) -> Any:
        """The engine's ``LlmMetadata`` message.

        Raises:
            BundleError: There is none, or it is damaged.
        """

    def tokenizer_json(self) -> bytes:
        """The Hugging Face ``tokenizer.json``.

        Raises:
            BundleError: There is none, or it is damaged.
        """
