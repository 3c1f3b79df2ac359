"""The child process of ``lower``: traces signatures and writes each as a weightless ONNX model.

Run as ``python -m exporter.onnx.trace_worker REQUEST``, where REQUEST is a pickle of the request; writes
one file per signature beside it. Nothing here is converted by torch's own ONNX exporter, which takes
four times as long (17.7 s against 4.6 s for one signature of the tiny pair) and wants two packages more.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

from exporter.lowering.units import LoweringRequest, Unit


def main(asked: Path) -> None:
    """Trace what ``asked`` asks for."""
    import torch

    from exporter.lowering.signatures import bundle_signatures
    from exporter.onnx.translate import translate

    request: LoweringRequest
    units: Sequence[Unit]
    request, units = pickle.loads(asked.read_bytes())
    signatures = bundle_signatures(request.target, request.drafter, request.head, request.contract)
    for unit in units:
        (signature,) = (s for s in signatures[unit.section] if s.name == unit.signature)
        module = signature.module.eval()
        program = torch.export.export(module, (), signature.example(), strict=False)
        model = translate(program, signature, request.contract.placeholder)
        content = model.SerializeToString(deterministic=True)
        (asked.parent / unit.file_name).write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
