"""A target's vision tower as LiteRT files of one signature: ours, a plain one, litert-torch's.

All three are towers of one checkpoint. The plain one is ours with attention as transformers writes it: the
scores of all heads at once, to which a mask is added. litert-torch's is made by its own classes, whose mask
is zeros: it attends to padding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.configs.config import parse_target
from exporter.checkpoints.configs.vision import parse_vision
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.contract.names import MASK, Section, TensorSpec
from exporter.contract.vision import ENCODER_PREFIX, FEATURES, IMAGES, POSITIONS, VisionContract
from exporter.litertlm.bind import bind
from exporter.litertlm.tower_graphs import find_tower_graphs
from exporter.lowering.signatures import (
    TORCH_DTYPES,
    Signature,
    SignatureModule,
    Tensors,
    parameter_specs,
)
from exporter.lowering.units import Unit
from exporter.lowering.vision import VisionRequest
from exporter.model.vision.layers import Attention, Patches
from exporter.model.vision.tower import VisionTower
from exporter.plan.vision import vision_contract
from exporter.progress import SilentReporter
from exporter.weights.matching import Weight, find_weights
from exporter.weights.towers import find_tower_weights
from exporter.weights.vision import VisionLayout
from exporter.weights.vision_parameters import vision_parameter_specs
from quantize.builtin_recipes import FLOAT32, int8_tower
from quantize.recipe import Recipe

RECIPES = {"int8": Recipe("int8", "", (int8_tower("vision"),)), "float32": FLOAT32}
"""How the matrices of ours and of the plain tower are stored."""

SHOW_PROGRESS = "LITERT_TORCH_SHOW_PROGRESS"


class PlainAttention(Attention):
    """Scores of all heads at once, and a mask added to them."""

    def forward(self, x: Tensor, patches: Patches) -> Tensor:
        queries = patches.turned(self.q_norm(self.q_proj(x).reshape(self.heads)))
        keys = patches.turned(self.k_norm(self.k_proj(x).reshape(self.heads)))
        values = self.v_norm(self.v_proj(x).reshape(self.heads))
        mask = patches.hidden[:, :, :1].permute(0, 2, 3, 1)  # [1, 1, 1, P]
        scores = queries.transpose(1, 2) @ keys.permute(0, 2, 3, 1) + mask
        together = (torch.softmax(scores, dim=-1) @ values.transpose(1, 2)).transpose(1, 2)
        return self.o_proj(together.reshape(1, x.shape[1], -1))  # type: ignore[no-any-return]


class PlainTower(VisionTower):
    """A tower with plain attention."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__(config)
        for layer in self.layers:
            layer.self_attn = PlainAttention(config)


@dataclass(frozen=True)
class Towers:
    """The tower of the checkpoint in ``folder``; files that are made stay in ``kept``."""

    folder: Path
    kept: Path

    def ours(self, tokens: int, recipe: str) -> Path:
        """As an export writes it."""
        made = self.kept / f"ours.{recipe}.{tokens}.tflite"
        if not made.exists():
            request = VisionRequest(self._config(), self._contract(tokens))
            graphs = find_tower_graphs(request, SilentReporter(), fresh=False)
            self._bind(graphs.sections[Section.VISION_ENCODER], recipe, made)
        return made

    def plain(self, tokens: int, recipe: str) -> Path:
        """With plain attention."""
        made = self.kept / f"plain.{recipe}.{tokens}.tflite"
        if not made.exists():
            self._bind(self._plain_graph(tokens), recipe, made)
        return made

    def theirs(self, tokens: int) -> Path:
        """litert-torch's, quantised by its own tool."""
        made = self.kept / f"litert-torch.{tokens}.tflite"
        if not made.exists():
            _lower_theirs(self.folder, self._contract(tokens), made)
        return made

    def _config(self) -> VisionConfig:
        config = parse_vision(open_checkpoint(self.folder).config, str(self.folder))
        if config is None:
            raise SystemExit(f"{self.folder} has no vision tower: make_planted_pair.py --vision")
        return config

    def _text_width(self) -> int:
        target = parse_target(open_checkpoint(self.folder).config, str(self.folder))
        return target.text.hidden_size

    def _contract(self, tokens: int) -> VisionContract:
        return vision_contract(self._config(), self._text_width(), (tokens,))

    def _plain_graph(self, tokens: int) -> bytes:
        graph = self.kept / f"plain.{tokens}.graph"
        if not graph.exists():
            request = VisionRequest(self._config(), self._contract(tokens))
            unit = Unit(Section.VISION_ENCODER, f"{ENCODER_PREFIX}{tokens}")
            graph.write_bytes(_lower_plain(request, unit))
        return graph.read_bytes()

    def _bind(self, graph: bytes, recipe: str, made: Path) -> None:
        with self._weights() as weights, made.open("wb") as stream:
            bind(graph, weights, RECIPES[recipe], stream)

    @contextmanager
    def _weights(self) -> Iterator[dict[str, Weight]]:
        checkpoint = open_checkpoint(self.folder)
        width = self._text_width()
        vocab = parse_target(checkpoint.config, str(self.folder)).text.vocab_size
        table = {Section.EMBEDDER: {"weight": TensorSpec((vocab, width))}}
        with TensorReader() as reader:
            embedding = find_weights(table, checkpoint, None, reader)[Section.EMBEDDER]["weight"]
            specs = vision_parameter_specs(self._config(), width)
            found = find_tower_weights(VisionLayout(), specs, checkpoint, embedding, 0)
            yield dict(found[Section.VISION_ENCODER])


def _lower_plain(request: VisionRequest, unit: Unit) -> bytes:
    """As ``exporter.lowering.worker`` does it."""
    os.environ[SHOW_PROGRESS] = "n"
    import litert_torch

    with torch.device("meta"):
        model = PlainTower(request.config)
    module = SignatureModule(model, _encode)
    signature = Signature(unit.signature, request.spec(unit), module, parameter_specs(model))
    converted = litert_torch.signature(
        signature.name, module.eval(), sample_kwargs=signature.example()
    ).convert()
    content: bytes = converted.model_content()
    return content


def _encode(model: nn.Module, inputs: Tensors) -> Tensors:
    found = model(inputs[IMAGES], inputs[POSITIONS])
    return {FEATURES: found.features, MASK: found.mask}


def _lower_theirs(target: Path, contract: VisionContract, made: Path) -> None:
    """As litert-torch's ``export_vision_encoder_models`` does it, which needs TensorFlow to be imported."""
    os.environ[SHOW_PROGRESS] = "n"
    from ai_edge_quantizer import quantizer, recipe
    from litert_torch._convert.interface import Converter
    from litert_torch.generative.export_hf.core.exportable_module import ExportableModuleConfig
    from litert_torch.generative.export_hf.model_ext.gemma4 import patch, vision_exportable
    from transformers import Gemma4ForConditionalGeneration

    tokens = contract.image_tokens[-1]
    inputs = {
        name: torch.zeros(spec.shape, dtype=TORCH_DTYPES[spec.dtype])
        for name, spec in contract.encoder_signature(tokens).inputs.items()
    }
    with patch.gemma4_litert_patch():
        model = Gemma4ForConditionalGeneration.from_pretrained(
            target, dtype=torch.float32, attn_implementation="eager"
        )
        settings = ExportableModuleConfig(model=str(target))
        encoder = vision_exportable.LiteRTExportableModuleForGemma4VisionEncoder(model, settings)
        converter = Converter()
        converter.add_signature(f"{ENCODER_PREFIX}{tokens}", encoder.eval(), sample_kwargs=inputs)
        whole = made.with_suffix(".whole.tflite")
        converter.convert(strict_export=False).export(str(whole))
    quantising = quantizer.Quantizer(str(whole), recipe.dynamic_wi8_afp32())
    quantising.quantize().export_model(str(made))
    whole.unlink()
