"""The tuned drafter as a checkpoint: the files of the old one, with other values in the trained tensors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exporter.checkpoints.checkpoint import TUNING, Checkpoint
from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.checkpoints.tensors.tensor_names import TOKEN_ORDERING, find_names
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.checkpoints.tensors.tied_head import is_head_tied
from exporter.contract.names import Section
from exporter.files.output import publish_folder, scratch_folder
from exporter.tune.drafter_weights import Parameters
from exporter.weights.matching import Weight

DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


@dataclass(frozen=True)
class DrafterFolder:
    """A drafter's checkpoint and which of its tensors each parameter is."""

    checkpoint: Checkpoint
    weights: Parameters
    tensors: Mapping[str, StoredTensor]

    @staticmethod
    def of(checkpoint: Checkpoint, weights: Parameters, reader: TensorReader) -> DrafterFolder:
        """Look up where each parameter is stored."""
        names = find_names(checkpoint)
        tied = is_head_tied(checkpoint, names, reader)
        section = Section.MTP_DRAFTER
        found = {p: checkpoint.tensors[names.of(section, p, tied=tied)] for p in weights}
        return DrafterFolder(checkpoint, weights, found)

    def rounded(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values of parameters that their tensors can hold."""
        return {
            name: value.to(DTYPES[self.tensors[name].dtype]).float()
            for name, value in values.items()
        }

    def write(
        self, values: Mapping[str, Tensor], tuning: Mapping[str, Any], output: Path, *, force: bool
    ) -> None:
        """Write the folder with other values for some parameters, and what is to be told of the tuning.

        An adapter of the checkpoint is merged. Everything else stays as it is, byte by byte.

        Raises:
            OutputError: It cannot be written; nothing is left behind.
        """
        with scratch_folder(output) as scratch:
            folder = scratch / "drafter"
            folder.mkdir()
            for file in self.checkpoint.folder.iterdir():
                if file.is_file() and file.name != TUNING:
                    shutil.copyfile(file, folder / file.name)
            for name, weight in self.weights.items():
                if name in values or _changed(weight, self.tensors[name]):
                    self._replace(folder, name, values.get(name))
            text = json.dumps(tuning, indent=2) + "\n"
            (folder / TUNING).write_text(text, encoding="utf-8")
            publish_folder(folder, output, TUNING, force=force)

    def _replace(self, folder: Path, name: str, value: Tensor | None) -> None:
        tensor, weight = self.tensors[name], self.weights[name]
        blocks = [value] if value is not None else map(torch.from_numpy, weight.blocks())
        with (folder / tensor.file.name).open("r+b") as stream:
            stream.seek(tensor.offset)
            for data in _encoded(blocks, DTYPES[tensor.dtype]):
                stream.write(data)


def _changed(weight: Weight, tensor: StoredTensor) -> bool:
    """Whether an adapter gives a weight other values than its tensor has."""
    replaced = weight.tensor != tensor or weight.change is not None
    return replaced and not weight.name.endswith(TOKEN_ORDERING)


def _encoded(blocks: Any, dtype: torch.dtype) -> Iterator[bytes]:
    for block in blocks:
        flat = block.detach().cpu().to(dtype).contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().tobytes()
