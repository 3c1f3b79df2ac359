"""Every weightless graph computes what the torch function it was traced from computes.

The weights are inputs of the graph, so ONNX Runtime can be given any; here they are random.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from exporter.agreement import make_contract
from exporter.bundle.onnx_names import SLOTS, output_name
from exporter.checkpoints.architecture import DrafterConfig, HeadKind, TargetConfig
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.contract import names
from exporter.contract.names import WEIGHT_PREFIX, Dtype, SignatureSpec, TensorSpec
from exporter.contract.text import Contract
from exporter.errors import LoweringError
from exporter.lowering.signatures import Signature, SignatureModule, bundle_signatures
from exporter.onnx.translate import translate
from exporter.options import ExportOptions
from quantize.builtin_recipes import RECIPES
from tests.pairs import Pair

pytestmark = pytest.mark.slow

SLOTS_TRACED_WITH = 251
SLOTS_RUN_WITH = 128
FILLED = 90
"""Slots in use: more than the sliding window, and a prefill's padding sticks out past the end."""

TOLERANCE = 1e-4
"""Of float32 kernels that sum in another order, relative to the largest value. Measured up to 3e-5,
in the logits of random weights; a wrong term is above 1e-2."""

HEADS = {"e2b": HeadKind.CENTROID, "e4b": HeadKind.FULL}
"""Of the drafters, one of each kind."""

Arrays = dict[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Parsed:
    """What a pair's configurations prescribe."""

    target: TargetConfig
    drafter: DrafterConfig
    agreed: Contract


@pytest.fixture
def parsed(pair: Pair) -> Parsed:
    configs = [json.loads((f / "config.json").read_text()) for f in (pair.target, pair.drafter)]
    target, drafter = parse_target(configs[0], "target"), parse_drafter(configs[1], "drafter")
    options = ExportOptions(
        RECIPES["float32"], cache_length=SLOTS_RUN_WITH, prefill_lengths=(8, 48)
    )
    made = make_contract(target, drafter, options)
    return Parsed(target, drafter, dataclasses.replace(made, placeholder=SLOTS_TRACED_WITH))


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def test_every_signature(parsed: Parsed, shape: str) -> None:
    pair, lowered = (parsed.target, parsed.drafter, HEADS[shape]), parsed.agreed.as_lowered()
    signatures = bundle_signatures(*pair, lowered)
    sized = bundle_signatures(*pair, parsed.agreed)
    for section, of_section in signatures.items():
        for signature, other in zip(of_section, sized[section], strict=True):
            compare(signature, other, parsed.agreed)


def compare(signature: Signature, sized: Signature, agreed: Contract) -> None:
    """Traced with one number of slots, run with another."""
    model = traced(signature, agreed.placeholder)
    onnx.checker.check_model(model, full_check=True)
    rng = np.random.default_rng(3)
    inputs = {n: values(n, spec, rng, agreed) for n, spec in sized.spec.inputs.items()}
    weights = {n: weight(spec, rng) for n, spec in sized.weights.items()}
    tensors = {n: torch.from_numpy(array.copy()) for n, array in inputs.items()}
    given = {n: torch.from_numpy(array) for n, array in weights.items()}
    expected = sized.module(given, **tensors)
    found = run(model, inputs | {WEIGHT_PREFIX + n: array for n, array in weights.items()})
    for name, wanted in expected.items():
        ours = found[output_name(name, inputs)]
        scale = float(wanted.abs().max())
        worst = float(np.abs(ours - wanted.numpy()).max()) / scale
        assert worst < TOLERANCE, f"{signature.name}: {name} is off by {worst:.1e}"


def traced(signature: Signature, placeholder: int | None = None) -> onnx.ModelProto:
    module = signature.module.eval()
    program = torch.export.export(module, (), signature.example(), strict=False)
    return translate(program, signature, placeholder)


def run(model: onnx.ModelProto, inputs: Arrays) -> Arrays:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_free_dimension_override_by_name(SLOTS, SLOTS_RUN_WITH)
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs = [entry.name for entry in session.get_outputs()]
    return dict(zip(outputs, session.run(outputs, inputs), strict=True))


def values(name: str, spec: TensorSpec, rng: np.random.Generator, agreed: Contract) -> NDArray[Any]:
    """Inputs as the runtime gives them: consecutive positions, and a mask of what is filled."""
    if name == names.TOKEN_IDS:
        return np.array([[7]], dtype=np.int32)
    if name == names.INPUT_POS:
        return np.arange(FILLED, FILLED + spec.shape[0], dtype=np.int32)
    if name == names.MASK:
        tokens = spec.shape[2]
        newest = np.arange(FILLED, FILLED + tokens)[:, None]
        mask = np.arange(agreed.cache_length)[None] <= newest
        return mask.reshape(spec.shape)
    return rng.standard_normal(spec.shape).astype(np.float32)


def weight(spec: TensorSpec, rng: np.random.Generator) -> NDArray[Any]:
    """Matrices that keep the size of what they multiply; a token table in any order."""
    if spec.dtype is Dtype.INT32:
        count = int(np.prod(spec.shape))
        return rng.permutation(count).astype(np.int32).reshape(spec.shape)
    spread = spec.shape[-1] ** -0.5 if len(spec.shape) == 2 else 1.0
    return (rng.standard_normal(spec.shape) * spread).astype(np.float32)


def one_function(body: Any, **inputs: TensorSpec) -> Signature:
    """A signature of one output without weights."""
    spec = SignatureSpec(inputs, {"y": TensorSpec((4,))})
    return Signature("odd", spec, SignatureModule(nn.Module(), body), {})


def test_an_operator_that_is_not_told_is_named() -> None:
    signature = one_function(
        lambda _, inputs: {"y": torch.erfinv(torch.atan(inputs["x"]))}, x=TensorSpec((4,))
    )
    with pytest.raises(LoweringError, match=r"(?s)operators\.py.*aten\.atan.*aten\.erfinv"):
        traced(signature)


def test_operands_of_two_types_are_refused() -> None:
    signature = one_function(
        lambda _, inputs: {"y": inputs["x"] + inputs["n"]},
        x=TensorSpec((4,)),
        n=TensorSpec((4,), Dtype.INT32),
    )
    with pytest.raises(LoweringError, match="float32 and int32"):
        traced(signature)


def test_a_large_constant_is_made_when_the_graph_is_run(tmp_path: Path) -> None:
    """As the floor of a full-size centroid head: 262144 equal logits."""
    count = 100_000
    signature = one_function(
        lambda _, inputs: {"y": torch.full((count,), -3.0) + inputs["x"]}, x=TensorSpec((1,))
    )
    model = traced(signature)
    assert model.ByteSize() < 2000
    (found,) = run(model, {"x": np.array([1], np.float32)}).values()
    assert found.shape == (count,)
    assert (found == -2).all()
