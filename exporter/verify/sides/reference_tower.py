"""What unmodified transformers makes of pictures or of sound, as features and as embeddings.

In a process of its own that imports none of our models: ``python -m exporter.verify.sides.reference_tower
REQUEST.json OUT.npz``. Float32, eager attention. Only the tower and its projection are loaded, unless an
adapter changes them or they are stored as codes: then the whole model is.

The request's ``tower`` is ``vision`` or ``audio``. Arrays of its ``inputs`` file, for each input n, padded as
transformers' processor pads: ``n.0`` has colours ``[P, 3 * p * p]`` from 0 to 1, or logarithms of mel
energies ``[F, M]``; ``n.1`` the places of patches ``[P, 2]``, or which frames there are, bool ``[F]``. What
is written: ``n.features`` ``[T, D]`` of the tower, padding left out, and ``n.embeddings`` ``[T, H]`` after
``embed_vision`` or ``embed_audio``.
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
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    Gemma4AudioModel,
    Gemma4ForConditionalGeneration,
    Gemma4VisionModel,
)
from transformers.models.gemma4.modeling_gemma4 import Gemma4MultimodalEmbedder

from exporter.verify.sides.reference import load

CLASSES = {"vision": Gemma4VisionModel, "audio": Gemma4AudioModel}


def main(request_file: str, out: str) -> None:
    """Encode every input of the request."""
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    torch.set_num_threads(int(request["threads"]))
    torch.set_grad_enabled(False)
    tower, embedder = whole(request) if request["whole"] else alone(request)
    encode = {"vision": of_picture, "audio": of_sound}[request["tower"]]
    arrays = {}
    with np.load(request["inputs"]) as given:
        for name in sorted({key.split(".")[0] for key in given}):
            content, second = (torch.from_numpy(given[f"{name}.{i}"])[None] for i in (0, 1))
            features = encode(tower, content, second)
            arrays[f"{name}.features"] = features.numpy()
            arrays[f"{name}.embeddings"] = embedder(inputs_embeds=features).numpy()
    np.savez(out, **arrays)  # type: ignore[arg-type]


def of_picture(tower: nn.Module, colours: Tensor, places: Tensor) -> Tensor:
    """Features ``[T, D]``."""
    found = tower(pixel_values=colours, pixel_position_ids=places.long())
    return found.last_hidden_state  # type: ignore[no-any-return]


def of_sound(tower: nn.Module, frames: Tensor, mask: Tensor) -> Tensor:
    """Features ``[T, D]``."""
    found = tower(frames, mask, return_dict=True)
    return found.last_hidden_state[0, found.attention_mask[0]]  # type: ignore[no-any-return]


def whole(request: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
    """Tower and projection of the whole model, with an adapter if there is one.

    Raises:
        ValueError: A weight of them is not in the checkpoint; it would be random.
    """
    model, kind = load_whole(request).model, request["tower"]
    return getattr(model, f"{kind}_tower"), getattr(model, f"embed_{kind}")


def load_whole(request: dict[str, Any]) -> Any:
    """The whole model, with an adapter if there is one.

    Raises:
        ValueError: A weight of its text model or of the tower is not in the checkpoint; it would be random.
    """
    kind = request["tower"]
    return load(
        Gemma4ForConditionalGeneration,
        request["target"],
        request["target_adapter"],
        request["stale"],
        (f"model.{kind}_tower.", f"model.embed_{kind}."),
    )


def alone(request: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
    """Tower and projection without the text model.

    Raises:
        ValueError: A weight of them is not in the checkpoint; it would be random.
    """
    folder, kind = request["target"], request["tower"]
    before = f"{request['prefix']}{kind}_tower."
    config = AutoConfig.from_pretrained(folder)
    described = getattr(config, f"{kind}_config")
    tower, found = CLASSES[kind].from_pretrained(
        folder,
        config=described,
        dtype=torch.float32,
        attn_implementation="eager",
        key_mapping={f"^{re.escape(before)}": ""},
        output_loading_info=True,
    )
    if missing := sorted(found["missing_keys"]):
        raise ValueError(f"{folder} has no {before}{missing[0]} ({len(missing)} are missing)")
    embedder = Gemma4MultimodalEmbedder(described, config.get_text_config())
    with safe_open(request["projection_file"], "pt") as tensors:
        name = f"{request['prefix']}embed_{kind}.embedding_projection.weight"
        stored = tensors.get_tensor(name)
    embedder.load_state_dict({"embedding_projection.weight": stored.float()})
    return tower.eval(), embedder.eval()


if __name__ == "__main__":
    main(*sys.argv[1:])
