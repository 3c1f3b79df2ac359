"""What is traced of a vision tower: one torch function per signature, with its weights as inputs."""

from __future__ import annotations

import torch
from torch import nn

from exporter.contract.names import EMBEDDINGS, MASK, Accelerator, Section
from exporter.contract.vision import FEATURES, IMAGES, POSITIONS
from exporter.lowering.signatures import Signature, SignatureModule, Tensors, parameter_specs
from exporter.lowering.units import Unit
from exporter.lowering.vision import VisionRequest
from exporter.model.vision.tower import VisionAdapter, VisionTower


def unit_signature(request: VisionRequest, unit: Unit) -> Signature:
    """The signature that a unit asks for."""
    encoding = unit.section is Section.VISION_ENCODER
    for_gpu = request.accelerator is Accelerator.GPU
    with torch.device("meta"):
        model: nn.Module = (
            VisionTower(request.config, for_gpu=for_gpu)
            if encoding
            else VisionAdapter(request.config, request.contract.hidden_size, for_gpu=for_gpu)
        )
    module = SignatureModule(model, _encode if encoding else _adapt)
    return Signature(unit.signature, request.spec(unit), module, parameter_specs(model))


def _encode(model: nn.Module, inputs: Tensors) -> Tensors:
    found = model(inputs[IMAGES], inputs[POSITIONS])
    return {FEATURES: found.features, MASK: found.mask}


def _adapt(model: nn.Module, inputs: Tensors) -> Tensors:
    return {EMBEDDINGS: model(inputs[FEATURES])}
