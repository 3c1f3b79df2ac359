"""Putting what a runtime needs besides models and weights into the folder that holds them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from exporter.bundle.onnx_folder import FILES, METADATA, TOKENIZER
from exporter.checkpoints.assets.assets import Assets
from exporter.contract.text import Contract
from exporter.files.checksum import sha256
from exporter.llm_metadata import llm_metadata
from exporter.path_kind import MANIFEST

FOLDER = "folder"
"""What is made, within the scratch folder."""


def write_folder(
    scratch: Path, assets: Assets, contract: Contract, manifest: Mapping[str, Any]
) -> Path:
    """Complete the folder that binding has left in ``scratch``; returns it.

    Args:
        scratch: Holds models and weights.
        assets: Tokenizer, template and token ids.
        contract: Of the models.
        manifest: JSON object that says how they were made.
    """
    folder = scratch / FOLDER
    metadata = json_format.MessageToJson(llm_metadata(assets, contract))
    (folder / METADATA).write_text(metadata + "\n", encoding="utf-8")
    (folder / TOKENIZER).write_bytes(assets.tokenizer.content())
    files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    described = json.dumps({**manifest, FILES: files}, indent=1, sort_keys=True)
    (folder / MANIFEST).write_text(described + "\n", encoding="utf-8")
    return folder
