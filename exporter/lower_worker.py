"""The child process of ``lower``: traces and converts the sections of one request.

Run as ``python -m exporter.lower_worker FOLDER``; reads ``FOLDER/request`` and writes one flatbuffer
per section into ``FOLDER``.
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

from exporter.contract import Section
from exporter.lower import LoweringRequest


def main(folder: Path) -> None:
    """Lower what ``folder / "request"`` asks for."""
    os.environ["LITERT_TORCH_SHOW_PROGRESS"] = "n"
    import litert_torch

    from exporter.signatures import bundle_signatures

    request: LoweringRequest
    sections: tuple[Section, ...]
    request, sections = pickle.loads((folder / "request").read_bytes())
    signatures = bundle_signatures(request.target, request.drafter, request.head, request.contract)
    for section in sections:
        first, *rest = signatures[section]
        converter = litert_torch.signature(
            first.name, first.module.eval(), sample_kwargs=first.example()
        )
        for signature in rest:
            converter.signature(
                signature.name, signature.module.eval(), sample_kwargs=signature.example()
            )
        model = converter.convert()
        (folder / section.value).write_bytes(model.model_content())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
