"""What a quick test is refused, and what it is not. A refusal that is asked for here is forgotten at once."""

from __future__ import annotations

import sys

import pytest

from tests.quick_tier import PROCESSES, refused, watch


@pytest.mark.parametrize("module", PROCESSES)
def test_processes(module: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=f"mark this test slow: .* {module}"):
        watch("subprocess.Popen", (sys.executable, [sys.executable, "-m", module], None, None))
    refused.clear()


def test_the_converter() -> None:
    with pytest.raises(pytest.fail.Exception, match="litert_torch"):
        watch("import", ("litert_torch", None, None, None, None))
    refused.clear()


def test_everything_else() -> None:
    watch("subprocess.Popen", ("git", ["git", "status"], None, None))
    watch("import", ("torch", None, None, None, None))
    watch("open", ("litert_torch", "r", 0))
    assert refused == []
