"""Both random pairs, lowered and bound once per session, and a text for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from exporter.checkpoints.tensors.tensor_reader import TensorReader
from tests import pairs as pair_files
from tests.eager import CACHE_LENGTH, Eager
from tests.litert.graphs import HEADS, Bound, LiteRt, Text, bind_pair


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    """No gradients; one thread, because the models are too small to share out."""
    torch.set_num_threads(1)
    with torch.no_grad():
        yield


@pytest.fixture(scope="session")
def bounds(
    pairs: dict[str, pair_files.Pair], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Bound]]:
    """Both pairs, lowered (or known), to be bound with any recipe."""
    with TensorReader() as reader:
        yield {
            shape: bind_pair(pair, HEADS[shape], tmp_path_factory.mktemp(f"litert-{shape}"), reader)
            for shape, pair in pairs.items()
        }


@pytest.fixture
def bound(bounds: dict[str, Bound], shape: str) -> Bound:
    return bounds[shape]


@pytest.fixture(scope="session")
def runners(bounds: dict[str, Bound]) -> dict[str, LiteRt]:
    """The float32 graphs, loaded."""
    return {shape: LiteRt(bound, "float32") for shape, bound in bounds.items()}


@pytest.fixture
def litert(runners: dict[str, LiteRt], shape: str) -> LiteRt:
    return runners[shape]


@pytest.fixture(scope="session")
def texts(eagers: dict[str, Eager]) -> dict[str, Text]:
    """One text per pair."""
    source = torch.Generator().manual_seed(5)
    tokens = torch.randint(pair_files.VOCABULARY, (CACHE_LENGTH,), generator=source)
    return {shape: Text(eager, tokens) for shape, eager in eagers.items()}


@pytest.fixture
def text(texts: dict[str, Text], shape: str) -> Text:
    return texts[shape]
