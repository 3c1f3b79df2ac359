"""Full-size checkpoints without weights: configs, headers with every tensor, and a hole for the data.

Tensors are those of transformers' own modules; a file of 10 GB takes a few kilobytes of disk. The
tokenizer and template are the tiny pair's. Imports nothing of this project.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path

import torch
from transformers import PreTrainedModel

TEXT_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
)
BYTES = {"BF16": 2, "I64": 8}


def write_sparse(model: PreTrainedModel, folder: Path, text_files: Path) -> None:
    """Write what ``save_pretrained`` would, all zeros.

    Args:
        model: On the meta device.
        folder: To be made.
        text_files: A folder with a tokenizer and a template.
    """
    folder.mkdir(parents=True)
    model.config.save_pretrained(folder)
    for name in TEXT_FILES:
        shutil.copy(text_files / name, folder / name)
    tied = set(model.all_tied_weights_keys)
    header, end = {}, 0
    for name, tensor in model.state_dict().items():
        if name in tied:
            continue
        dtype = "I64" if tensor.dtype is torch.int64 else "BF16"
        begin, end = end, end + BYTES[dtype] * math.prod(tensor.shape)
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    file = folder / "model.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(file, file.stat().st_size + end)
