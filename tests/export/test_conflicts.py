"""Options that contradict each other are refused alike by the command and by the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.contract.names import Accelerator, Dtype
from exporter.errors import ConfigError, MtpExportError, OptionsError
from exporter.options import Activations, ExportOptions, OutputFormat
from exporter.pipeline import export
from quantize.builtin_recipes import FLOAT32
from tests import command
from tests.bundles import TINY_DRAFTER, TINY_TARGET

ONNX, GPU = ("--format", "onnx"), ("--accelerator", "gpu")

CONFLICTS = [
    ((*ONNX, *GPU), {"format": OutputFormat.ONNX, "accelerator": Accelerator.GPU}, OptionsError),
    ((*ONNX, "--batch", "2"), {"format": OutputFormat.ONNX, "batch": 2}, OptionsError),
    (
        (*ONNX, "--kv-cache", "int8"),
        {"format": OutputFormat.ONNX, "kv_dtype": Dtype.INT8},
        OptionsError,
    ),
    (("--activations", "float16"), {"activations": Activations.FLOAT16}, OptionsError),
    (("--drafter-head", "full"), {"drafter_head": HeadKind.FULL}, OptionsError),
    ((*GPU, "--batch", "2"), {"accelerator": Accelerator.GPU, "batch": 2}, ConfigError),
    (
        (*GPU, "--kv-cache", "int8"),
        {"accelerator": Accelerator.GPU, "kv_dtype": Dtype.INT8},
        ConfigError,
    ),
    (
        (*GPU, "--drafter-head", "centroid"),
        {"accelerator": Accelerator.GPU, "drafter_head": HeadKind.CENTROID},
        ConfigError,
    ),
]


@pytest.mark.parametrize(
    ("given", "chosen", "error"), CONFLICTS, ids=[" ".join(given) for given, *_ in CONFLICTS]
)
def test_command_and_library_refuse_alike(
    given: tuple[str, ...], chosen: dict[str, Any], error: type[MtpExportError], folder: Path
) -> None:
    drafts = chosen != {"drafter_head": HeadKind.FULL}
    output = folder / "x"
    drafter = open_checkpoint(TINY_DRAFTER) if drafts else None
    with pytest.raises(error) as raised:
        export(open_checkpoint(TINY_TARGET), drafter, output, ExportOptions(FLOAT32, **chosen))
    pair = (TINY_TARGET, TINY_DRAFTER) if drafts else (TINY_TARGET, "--no-drafter")
    done = command.run("export", *pair, "-o", output, *given)
    assert done.returncode == raised.value.exit_code
    assert str(raised.value) in done.stderr
    assert not list(folder.iterdir())
