"""A copy of the tiny target whose small files can be changed, and what is read of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.agreement import make_contract
from exporter.checkpoints.assets.assets import Assets, read_assets
from exporter.checkpoints.checkpoint import Checkpoint, open_checkpoint
from exporter.checkpoints.configs.config import parse_target
from exporter.llm_metadata import llm_metadata
from exporter.options import ExportOptions
from quantize.builtin_recipes import RECIPES
from tests.bundles import TINY_TARGET

ROWS = 2048
"""Tokens of the tiny target."""

GEMMA_TOKENS = {
    46: "<|tool>",
    47: "<tool|>",
    48: "<|tool_call>",
    49: "<tool_call|>",
    50: "<|tool_response>",
    51: "<tool_response|>",
    52: '<|"|>',
    98: "<|think|>",
    100: "<|channel>",
    101: "<channel|>",
    105: "<|turn>",
    106: "<turn|>",
}
"""Special tokens of Google's tokenizers, where they have them."""


@dataclass(frozen=True)
class Beside:
    """The copy."""

    folder: Path

    @staticmethod
    def copied_to(folder: Path) -> Beside:
        """A copy, the weights linked."""
        shutil.copytree(TINY_TARGET, folder, copy_function=os.link)
        return Beside(folder)

    def write(self, name: str, content: object) -> None:
        """Replace a file, by JSON unless it is given as text."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)  # a link, whose other end stays as it is
        path.write_text(
            content if isinstance(content, str) else json.dumps(content), encoding="utf-8"
        )

    def edit(self, name: str, **changes: object) -> None:
        """Change keys of a JSON file; None removes one."""
        changed = {**json.loads((self.folder / name).read_text()), **changes}
        self.write(name, {key: value for key, value in changed.items() if value is not None})

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()

    def rename_tokens(self, names: dict[int, str]) -> None:
        """Give added tokens other texts."""

        def change(tokenizer: dict[str, Any]) -> None:
            for entry in tokenizer["added_tokens"]:
                entry["content"] = names.get(entry["id"], entry["content"])
            vocabulary = {index: text for text, index in tokenizer["model"]["vocab"].items()}
            tokenizer["model"]["vocab"] = {text: i for i, text in {**vocabulary, **names}.items()}

        self.edit_tokenizer(change)

    def edit_tokenizer(self, change: Callable[[dict[str, Any]], None]) -> None:
        tokenizer = json.loads((self.folder / "tokenizer.json").read_text(encoding="utf-8"))
        change(tokenizer)
        self.write("tokenizer.json", tokenizer)

    def checkpoint(self) -> Checkpoint:
        return open_checkpoint(self.folder)

    def assets(self) -> Assets:
        """What an export reads of it."""
        target = self.checkpoint()
        return read_assets(target, parse_target(target.config, str(self.folder)))

    def notes(self) -> tuple[str, ...]:
        """What is told besides how the chat template was chosen."""
        return other_notes(self.assets())

    def metadata(self) -> Any:
        """What the bundle would say."""
        config = parse_target(self.checkpoint().config, str(self.folder))
        contract = make_contract(config, None, ExportOptions(RECIPES["int8"]))
        return llm_metadata(self.assets(), contract)


def other_notes(assets: Assets) -> tuple[str, ...]:
    """What is told besides how the chat template was chosen."""
    return tuple(note for note in assets.notes if note != assets.template.summary())
