"""What unmodified transformers makes of pictures, as features and as embeddings.

In a process of its own that imports none of our models: ``python -m exporter.verify.sides.reference_tower
REQUEST.json OUT.npz``. Float32, eager attention. Only the tower and its projection are loaded, unless an
adapter changes them or they are stored as codes: then the whole model is.

Arrays of the request's ``pictures`` file, for each picture n: ``n.colours`` ``[P, 3 * p * p]`` from 0 to 1
and ``n.places`` ``[P, 2]``, padded as transformers' processor pads. What is written: ``n.features``
``[T, D]`` of the tower, padding left out, and ``n.embeddings`` ``[T, H]`` after ``embed_vision``.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import nn
from transformers import AutoConfig, Gemma4ForConditionalGeneration, Gemma4VisionModel
from transformers.models.gemma4.modeling_gemma4 import Gemma4MultimodalEmbedder

from exporter.verify.sides.reference import load

TOWER, EMBEDDER = "vision_tower.", "embed_vision."


def main(request_file: str, out: str) -> None:
    """Encode every picture of the request."""
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    torch.set_num_threads(int(request["threads"]))
    torch.set_grad_enabled(False)
    tower, embedder = whole(request) if request["whole"] else alone(request)
    arrays = {}
    with np.load(request["pictures"]) as given:
        for name in sorted({key.split(".")[0] for key in given}):
            features = tower(
                pixel_values=torch.from_numpy(given[f"{name}.colours"])[None],
                pixel_position_ids=torch.from_numpy(given[f"{name}.places"])[None].long(),
            ).last_hidden_state
            arrays[f"{name}.features"] = features.numpy()
            arrays[f"{name}.embeddings"] = embedder(inputs_embeds=features).numpy()
    np.savez(out, **arrays)


def whole(request: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
    """Tower and projection of the whole model, with an adapter if there is one.

    Raises:
        ValueError: A weight of them is not in the checkpoint; it would be random.
    """
    model = load_whole(request)
    return model.model.vision_tower, model.model.embed_vision


def load_whole(request: dict[str, Any]) -> Any:
    """The whole model, with an adapter if there is one.

    Raises:
        ValueError: A weight of it is not in the checkpoint; it would be random.
    """
    return load(
        Gemma4ForConditionalGeneration,
        request["target"],
        request["target_adapter"],
        request["stale"],
        (f"model.{TOWER}", f"model.{EMBEDDER}"),
    )


def alone(request: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
    """Tower and projection without the text model.

    Raises:
        ValueError: A weight of them is not in the checkpoint; it would be random.
    """
    folder, prefix = request["target"], request["prefix"]
    config = AutoConfig.from_pretrained(folder)
    tower, found = Gemma4VisionModel.from_pretrained(
        folder,
        config=config.vision_config,
        dtype=torch.float32,
        attn_implementation="eager",
        key_mapping={f"^{re.escape(prefix + TOWER)}": ""},
        output_loading_info=True,
    )
    if missing := sorted(found["missing_keys"]):
        raise ValueError(
            f"{folder} has no {prefix}{TOWER}{missing[0]} ({len(missing)} are missing)"
        )
    embedder = Gemma4MultimodalEmbedder(config.vision_config, config.get_text_config())
    with safe_open(request["projection_file"], "pt") as tensors:
        stored = tensors.get_tensor(f"{prefix}{EMBEDDER}embedding_projection.weight")
    embedder.load_state_dict({"embedding_projection.weight": stored.float()})
    return tower.eval(), embedder.eval()


if __name__ == "__main__":
    main(*sys.argv[1:])
