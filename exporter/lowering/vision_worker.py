"""The child process of ``lower_vision``: traces and converts some signatures.

Run as ``python -m exporter.lowering.vision_worker REQUEST``, where REQUEST is a pickle of the request and the
units to lower; writes one flatbuffer per unit beside it.
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

from exporter.lowering.units import Unit
from exporter.lowering.vision import VisionRequest


def main(asked: Path) -> None:
    """Lower what ``asked`` asks for."""
    os.environ["LITERT_TORCH_SHOW_PROGRESS"] = "n"
    import litert_torch

    from exporter.lowering.vision_signatures import vision_signature

    request: VisionRequest
    units: list[Unit]
    request, units = pickle.loads(asked.read_bytes())
    for unit in units:
        signature = vision_signature(request, unit)
        converter = litert_torch.signature(
            signature.name, signature.module.eval(), sample_kwargs=signature.example()
        )
        (asked.parent / unit.file_name).write_bytes(converter.convert().model_content())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
