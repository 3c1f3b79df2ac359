"""The export's own part of an ONNX folder: one model per signature, weights beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporter.bundle.onnx_folder import write_description
from exporter.checkpoints.assets.assets import Assets
from exporter.contract import Contract
from exporter.files.output import check_folder_destination, publish_folder
from exporter.llm_metadata import llm_metadata
from exporter.lowering.units import LoweringRequest
from exporter.onnx.graphs import FOLDER, OnnxGraphs, find_graphs
from exporter.path_kind import MANIFEST
from exporter.progress import Reporter


class OnnxFormat:
    """A :class:`~exporter.formats.Format`."""

    def check_destination(self, output: Path, *, force: bool) -> None:
        check_folder_destination(output, MANIFEST, force=force)

    def find_graphs(
        self, request: LoweringRequest, reporter: Reporter, *, fresh: bool
    ) -> OnnxGraphs:
        return find_graphs(request, reporter, fresh=fresh)

    def pack(
        self, scratch: Path, assets: Assets, contract: Contract, manifest: Mapping[str, Any]
    ) -> Path:
        folder = scratch / FOLDER
        metadata = llm_metadata(assets, contract)
        write_description(folder, metadata, assets.tokenizer_json, manifest)
        return folder

    def publish(self, finished: Path, output: Path, *, force: bool) -> None:
        publish_folder(finished, output, MANIFEST, force=force)
