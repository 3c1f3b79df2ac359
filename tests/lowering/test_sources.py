"""What a graph's key covers: the code that makes it, and no comment."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from exporter.lowering import graph_cache
from exporter.lowering.sources import PACKAGES, PROJECT, UNRELATED, code_of, reached
from exporter.onnx import graphs as onnx_graphs

IMPORTED_LATE = ("exporter.lowering.signatures", "exporter.onnx.translate")
"""By the workers, within a function."""


def imported(modules: tuple[str, ...]) -> set[str]:
    """Modules of ours that hold code and are loaded once Python has imported these."""
    code = (
        "import importlib, json, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(json.dumps([n for n, m in sys.modules.items() if not hasattr(m, '__path__')]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *modules], capture_output=True, text=True, check=True
    )
    loaded = json.loads(done.stdout.splitlines()[-1])
    return {name for name in loaded if name.split(".")[0] in PACKAGES and name not in UNRELATED}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("makers", "late"),
    [
        (graph_cache.LITERT.modules, IMPORTED_LATE[:1]),
        (onnx_graphs.ONNX.modules, IMPORTED_LATE),
    ],
    ids=["litert", "onnx"],
)
def test_everything_that_is_imported_is_covered(
    makers: tuple[str, ...], late: tuple[str, ...]
) -> None:
    assert reached(makers) == imported((*makers, *late))
    assert reached(makers) >= {"exporter.checkpoints.architecture", *makers}


@pytest.mark.parametrize(
    "makers", [graph_cache.LITERT.modules, onnx_graphs.ONNX.modules], ids=["litert", "onnx"]
)
def test_reading_configs_is_not_covered(makers: tuple[str, ...]) -> None:
    """How a config is spelled may be learnt at any time; shipped graphs stay good."""
    of_checkpoints = {name for name in reached(makers) if name.startswith("exporter.checkpoints.")}
    assert of_checkpoints == {"exporter.checkpoints.architecture"}


def test_packages_hold_no_code() -> None:
    """They are not among the modules that are covered.

    The one that has code is the Python interface, which imports nothing before a name of it is used
    (tests/test_python_interface.py).
    """
    files = {file for package in PACKAGES for file in (PROJECT / package).rglob("__init__.py")}
    with_code = {file for file in files if code_of(file.read_text())}
    assert with_code == {PROJECT / "exporter" / "__init__.py"}


def test_comments_and_docstrings_do_not_count() -> None:
    plain = 'def f(x):\n    text = "# a"\n    return x, text\n'
    explained = (
        '"""About this\n\nmodule."""\n# A comment.\n\n\ndef f(x):  # and\n    """More."""\n'
        '    text = "# a"  # and more\n\n    return x, text\n'
    )
    assert code_of(explained) == code_of(plain)
    assert code_of(plain.replace("# a", "# b")) != code_of(plain)
    assert code_of(plain.replace("return x", "return -x")) != code_of(plain)
