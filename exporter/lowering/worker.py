"""The child process of ``lower``: traces and converts some signatures.

Run as ``python -m exporter.lowering.worker REQUEST``, where REQUEST is a pickle of the request and the
units to lower. It writes one flatbuffer per unit beside that file.
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from pathlib import Path

from exporter.lowering.choices import with_choices
from exporter.lowering.lower import Traceable
from exporter.lowering.units import Unit


def main(asked: Path) -> None:
    """Lower what ``asked`` asks for."""
    os.environ["LITERT_TORCH_SHOW_PROGRESS"] = "n"
    import litert_torch

    request: Traceable
    units: list[Unit]
    request, units = pickle.loads(asked.read_bytes())
    maker = importlib.import_module(request.maker)
    for unit in units:
        signature = maker.unit_signature(request, unit)
        converter = litert_torch.signature(
            signature.name, signature.module.eval(), sample_kwargs=signature.example()
        )
        graph = with_choices(converter.convert().model_content())
        (asked.parent / unit.file_name).write_bytes(graph)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
