"""What is traced of an audio tower: one torch function per signature, with its weights as inputs."""

from __future__ import annotations

import torch
from torch import nn

from exporter.contract.audio import FRAMES
from exporter.contract.names import EMBEDDINGS, MASK, Section
from exporter.contract.vision import FEATURES
from exporter.lowering.audio import AudioRequest
from exporter.lowering.signatures import Signature, SignatureModule, Tensors, parameter_specs
from exporter.lowering.units import Unit
from exporter.model.audio.tower import AudioAdapter, AudioTower


def unit_signature(request: AudioRequest, unit: Unit) -> Signature:
    """The signature that a unit asks for."""
    encoding = unit.section is Section.AUDIO_ENCODER
    with torch.device("meta"):
        model: nn.Module = (
            AudioTower(request.config)
            if encoding
            else AudioAdapter(request.config, request.contract.hidden_size)
        )
    module = SignatureModule(model, _encode if encoding else _adapt)
    return Signature(unit.signature, request.spec(unit), module, parameter_specs(model))


def _encode(model: nn.Module, inputs: Tensors) -> Tensors:
    found = model(inputs[FRAMES], inputs[MASK])
    return {FEATURES: found.features, MASK: found.mask}


def _adapt(model: nn.Module, inputs: Tensors) -> Tensors:
    return {EMBEDDINGS: model(inputs[FEATURES], inputs[MASK])}
