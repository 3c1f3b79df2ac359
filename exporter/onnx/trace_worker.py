"""The child process of ``lower``: traces signatures and writes each as a weightless ONNX model.

Run as ``python -m exporter.onnx.trace_worker REQUEST``, where REQUEST is a pickle of the request; writes
one file per signature beside it. Nothing here is converted by torch's own ONNX exporter, which takes
four times as long (17.7 s against 4.6 s for one signature of the tiny pair) and wants two packages more.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from exporter.lowering.lower import LoweringRequest, Unit


def main(asked: Path) -> None:
    """Trace what ``asked`` asks for."""
    import torch

    from exporter.lowering.signatures import bundle_signatures
    from exporter.onnx.translate import translate

    request: LoweringRequest = pickle.loads(asked.read_bytes())
    signatures = bundle_signatures(request.target, request.drafter, request.head, request.contract)
    for section, of_section in signatures.items():
        for signature in of_section:
            module = signature.module.eval()
            program = torch.export.export(module, (), signature.example(), strict=False)
            model = translate(program, signature, request.contract.placeholder)
            file_name = Unit(section, signature.name).file_name
            (asked.parent / file_name).write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
