"""The child process of ``lower``: traces and converts some signatures.

Run as ``python -m exporter.lowering.worker REQUEST``, where REQUEST is a pickle of the request and the
units to lower. It writes one flatbuffer per unit beside that file.
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

from exporter.lowering.units import DRAFT_ROUND_UNIT, LoweringRequest, Unit


def main(asked: Path) -> None:
    """Lower what ``asked`` asks for."""
    os.environ["LITERT_TORCH_SHOW_PROGRESS"] = "n"
    import litert_torch

    from exporter.lowering.signatures import bundle_signatures, draft_round_signature

    request: LoweringRequest
    units: list[Unit]
    request, units = pickle.loads(asked.read_bytes())
    signatures = bundle_signatures(request.target, request.drafter, request.head, request.contract)
    for unit in units:
        if unit == DRAFT_ROUND_UNIT:
            assert request.drafter is not None
            pair = (request.target, request.drafter, request.head)
            signature = draft_round_signature(*pair, request.contract)
        else:
            (signature,) = (s for s in signatures[unit.section] if s.name == unit.signature)
        converter = litert_torch.signature(
            signature.name, signature.module.eval(), sample_kwargs=signature.example()
        )
        (asked.parent / unit.file_name).write_bytes(converter.convert().model_content())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
