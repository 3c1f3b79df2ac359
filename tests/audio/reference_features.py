"""What unmodified transformers makes of sound: ``python reference_features.py (CHECKPOINT OUT.npz)...``.

In a process of its own that imports nothing of this project. Float32, eager attention. Arrays, for every
clip of :data:`LENGTHS` frames in a graph for :data:`FRAMES`:
    <clip>.frames      [F, M]   what lies behind the clip is no silence
    <clip>.mask        [F]
    <clip>.features    [T, D]   of the tower, padding left out
    <clip>.embeddings  [T, H]   after ``embed_audio``
and, of the first numbers of samples in :data:`COUNTS`:
    samples            [n]
    <count>.log_mel    [F, M]
    filters            [257, M]
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from transformers import Gemma4AudioFeatureExtractor, Gemma4ForConditionalGeneration

FRAMES = 200
COUNTS = (3333, 3200)
LENGTHS = {"word": 7, "phrase": 61, "sentence": 130, "whole": 200}


def main(*arguments: str) -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    for checkpoint, out in zip(arguments[::2], arguments[1::2], strict=True):
        encode(checkpoint, out)


def encode(checkpoint: str, out: str) -> None:
    model = Gemma4ForConditionalGeneration.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    arrays = {}
    for name, length in LENGTHS.items():
        source = torch.Generator().manual_seed(length)
        frames = torch.randn(1, FRAMES, 128, generator=source) * 2 - 2
        mask = torch.arange(FRAMES)[None] < length
        found = model.model.get_audio_features(frames, mask, return_dict=True)
        valid = found.attention_mask[0]
        arrays[f"{name}.frames"], arrays[f"{name}.mask"] = frames[0].numpy(), mask[0].numpy()
        arrays[f"{name}.features"] = found.last_hidden_state[0, valid].numpy()
        arrays[f"{name}.embeddings"] = found.pooler_output[0, valid].numpy()
    arrays |= frames_of_samples()
    np.savez(out, **arrays)  # type: ignore[arg-type]


def frames_of_samples() -> dict[str, np.ndarray]:
    extractor = Gemma4AudioFeatureExtractor()
    samples = np.random.default_rng(0).uniform(-1, 1, max(COUNTS)).astype(np.float32)
    arrays = {"samples": samples, "filters": extractor.mel_filters}
    for count in COUNTS:
        made = extractor([samples[:count]], return_tensors="np", pad_to_multiple_of=None)
        arrays[f"{count}.log_mel"] = made["input_features"][0]
    return arrays


if __name__ == "__main__":
    main(*sys.argv[1:])
