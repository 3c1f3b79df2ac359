"""Graphs of E2B's and E4B's shape, of few layers: delegated whole, and right.

Those of E2B's shape are the graphs of the bundles that other modules run (``gpu_bundles``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract import names
from exporter.contract.names import Accelerator, Section
from runtime_py.litert.c_api import DeviceBuffer, Environment
from runtime_py.litert.compiled_model import CompiledModel
from runtime_py.litert.gpu.cache import CacheBuffer
from tests import pairs as pair_files
from tests.bundles import DRAFT_LENGTH
from tests.eager import CACHE_LENGTH, Eager
from tests.gpu.operations import FLOAT32, fully_accelerated
from tests.litert.graphs import Bound, Tensors, assert_close, bind_pair, named_caches

TOLERANCE = 1e-4
"""Of each output's largest magnitude, as for LiteRT on the CPU with float weights."""

COMMITTED = 100
"""Slots in use before the call, more than the window's 64."""


@pytest.fixture(scope="module")
def gpu_bounds(
    pairs: dict[str, pair_files.Pair], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Bound]]:
    with TensorReader() as reader:
        yield {
            shape: bind_pair(
                pair, HeadKind.FULL, tmp_path_factory.mktemp(shape), reader, Accelerator.GPU
            )
            for shape, pair in pairs.items()
        }


@pytest.fixture
def environment() -> Iterator[Environment]:
    environment = Environment(Accelerator.GPU)
    yield environment
    environment.close()


@contextmanager
def compiled(environment: Environment, file: Path) -> Iterator[CompiledModel]:
    """A section's graphs on the GPU, in float32."""
    content = np.frombuffer(file.read_bytes(), np.uint8)
    model = CompiledModel(environment, content, FLOAT32)
    try:
        yield model
    finally:
        model.close()


@pytest.mark.parametrize(
    ("shape", "recipe"), [("e2b", "float32"), ("e2b", "int8"), ("e2b", "int4"), ("e4b", "int4")]
)
def test_every_node_is_delegated(
    environment: Environment, gpu_bounds: dict[str, Bound], shape: str, recipe: str
) -> None:
    """Every storage, and the other shape in one; its float32 is looked at below."""
    agreed = gpu_bounds[shape].contract
    for section in (Section.MTP_DRAFTER, Section.PREFILL_DECODE):
        file = gpu_bounds[shape].file(recipe, section)
        with compiled(environment, file) as model:
            assert fully_accelerated(model)
            assert set(model.signatures) == set(agreed.section_signatures()[section])


@torch.no_grad()
def test_verify_is_what_torch_computes(
    environment: Environment, gpu_bounds: dict[str, Bound], eager: Eager, shape: str
) -> None:
    """Over caches that torch made, past the window, with garbage behind the slots in use."""
    source = torch.Generator().manual_seed(5)
    tokens = torch.randint(pair_files.VOCABULARY, (COMMITTED + DRAFT_LENGTH + 1,), generator=source)
    empty = eager.empty_caches(37.0)
    committed = eager.prefill(tokens[:COMMITTED], 0, empty)
    expected = eager.forward(tokens[COMMITTED:], COMMITTED, committed)
    file = gpu_bounds[shape].file("float32", Section.PREFILL_DECODE)
    inputs = dict(zip(INPUTS, eager.inputs(tokens[COMMITTED:], COMMITTED), strict=True))
    with compiled(environment, file) as model:
        assert fully_accelerated(model)
        found = run_verify(model, inputs, named_caches(committed))
    assert_close(found[names.LOGITS], expected.logits, TOLERANCE)
    assert_close(found[names.ACTIVATIONS], expected.hidden, TOLERANCE)
    used = COMMITTED + DRAFT_LENGTH + 1
    for name, cache in named_caches(expected.caches).items():
        slots = (
            (..., slice(used), slice(None))
            if names.KEY_CACHE_PREFIX in name
            else (..., slice(used))
        )
        assert_close(found[name][slots], cache[slots], TOLERANCE, name)


INPUTS = (names.EMBEDDINGS, names.PER_LAYER_EMBEDDINGS, names.INPUT_POS, names.MASK)


def run_verify(model: CompiledModel, inputs: Tensors, caches: Tensors) -> Tensors:
    """``verify`` after :data:`COMMITTED` slots, over the given caches."""
    end = COMMITTED + DRAFT_LENGTH + 1
    assert end <= CACHE_LENGTH
    params = torch.tensor([COMMITTED, end, end, 0, 0, 0, 0], dtype=torch.int32)
    given: dict[str, DeviceBuffer] = {}
    for name, values in {**inputs, names.PARAM_TENSOR: params}.items():
        given[name] = model.input_buffer(names.VERIFY, name)
        given[name].write(values.numpy())
    outputs = model.signatures[names.VERIFY].outputs
    made = {name: model.output_buffer(names.VERIFY, name) for name in outputs}
    banks = {
        name: CacheBuffer(made[name], of_keys=name.startswith(names.KEY_CACHE_PREFIX))
        for name in caches
    }
    for name, bank in banks.items():
        bank.write(caches[name].numpy())
    model.call(names.VERIFY, given, made)()
    results = {name: torch.from_numpy(made[name].read()) for name in made.keys() - banks.keys()}
    for name, bank in banks.items():
        results[name] = torch.from_numpy(bank.read())
    return results
