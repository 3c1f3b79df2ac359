"""What transformers says of the tiny target as it is, asked once for all modules here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.verify.sides.golden import Golden, ask
from tests.bundles import TINY_TARGET
from tests.checkpoints.asked import QUESTION
from tests.once import made_once, shared_folder


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Golden:
    """Its answer to :data:`~tests.checkpoints.asked.QUESTION`."""

    def make(output: Path) -> None:
        np.savez(output, **ask(open_checkpoint(TINY_TARGET), None, QUESTION, 2).arrays)  # type: ignore[arg-type]

    file = made_once(shared_folder(tmp_path_factory) / "plain-golden.npz", make)
    with np.load(file) as arrays:
        return Golden(QUESTION.tokens, QUESTION.probes, QUESTION.starts, dict(arrays))
