"""Repacks a bundle without its manifest and checksums, as another tool might have made it.

Usage: repack.py BUNDLE OUTPUT [--without-drafter]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from litert_lm_builder import LitertLmFileBuilder, TfLiteModelType

from exporter.bundle.reader import LLM_METADATA, TFLITE_MODEL, Bundle, open_bundle
from exporter.contract.names import Section


def main() -> None:
    """Copy what stays, section by section."""
    source, output = map(Path, sys.argv[1:3])
    dropped = {Section.MTP_DRAFTER.value} if "--without-drafter" in sys.argv else set()
    bundle = open_bundle(source)
    with tempfile.TemporaryDirectory() as scratch, output.open("wb") as stream:
        _packed(bundle, dropped, Path(scratch)).build(stream, validate_metadata=True)


def _packed(bundle: Bundle, dropped: set[str], scratch: Path) -> LitertLmFileBuilder:
    builder = LitertLmFileBuilder()
    tokenizer = scratch / "tokenizer.json"
    tokenizer.write_bytes(bundle.tokenizer_json())
    builder.add_hf_tokenizer(str(tokenizer))
    for number, section in enumerate(bundle.sections):
        path = scratch / str(number)
        path.write_bytes(bundle.read(section))
        if section.data_type == LLM_METADATA:
            builder.add_llm_metadata(str(path))
        elif section.data_type == TFLITE_MODEL and section.model_type not in dropped:
            builder.add_tflite_model(str(path), TfLiteModelType(section.model_type))
    return builder


if __name__ == "__main__":
    main()
