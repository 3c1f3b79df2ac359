"""Every built-in recipe passes ``verify`` on the shipped pair and the default prompts, as in the README.

That limits wide enough for this still tell a fault is for ``test_faults``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.cli.verify import DEFAULT_NEW_TOKENS
from exporter.contract.names import Accelerator
from exporter.progress import SilentReporter
from exporter.verify.evidence import VerifyRequest
from exporter.verify.ladder import climb
from exporter.verify.report import require_parity
from exporter.verify.rung import Verdict
from exporter.verify.texts import DEFAULT_PROMPTS
from quantize.builtin_recipes import RECIPES
from tests.verify.asking import NEEDS_MORE, RememberedAnswers
from tests.verify.faulty_graphs import tiny_pair

OF_README = "int4"
"""By the command, in ``test_cli``."""


@pytest.fixture(scope="module")
def asking() -> RememberedAnswers:
    return RememberedAnswers()


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != OF_README])
def test_every_recipe_passes_on_default_prompts(
    recipe: str, asking: RememberedAnswers, tiny_bundles: dict[str, Path]
) -> None:
    pair = tiny_pair()
    asked = VerifyRequest(
        tiny_bundles[recipe],
        pair.target,
        pair.drafter,
        DEFAULT_PROMPTS,
        Accelerator.CPU,
        threads=2,
        max_new_tokens=DEFAULT_NEW_TOKENS,
    )
    report = climb(asked, SilentReporter(), asking)
    require_parity(report)
    passed = [rung.key for rung in report.rungs if rung.verdict is Verdict.PASS]
    assert passed == [rung.key for rung in report.rungs if rung.key not in NEEDS_MORE]
