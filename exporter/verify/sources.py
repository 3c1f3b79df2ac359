"""Whether the given checkpoints are the ones a bundle was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.checkpoints.checkpoint import Checkpoint, hash_files
from exporter.checkpoints.pair import TARGET
from exporter.progress import Reporter


def differing_adapters(
    manifest: Mapping[str, Any], checkpoints: Mapping[str, Checkpoint]
) -> list[str]:
    """One sentence for every checkpoint that lacks the adapter a bundle was made with, or has one more."""
    notes = []
    for role, checkpoint in checkpoints.items():
        option = "--lora" if role == TARGET else "--drafter-lora"
        merged = (manifest["sources"].get(role) or {}).get("adapter")
        if merged is not None and checkpoint.adapter is None:
            notes.append(
                f"the bundle's {role} was made with the adapter {merged['source']}: add {option} ADAPTER, "
                f"unless this {role} has it merged in already"
            )
        if merged is None and checkpoint.adapter is not None:
            notes.append(
                f"the bundle's {role} was made without an adapter: leave out {option}, unless that was "
                "merged in already"
            )
    return notes


def differing_files(
    manifest: Mapping[str, Any], checkpoints: Mapping[str, Checkpoint], reporter: Reporter
) -> list[str]:
    """One sentence for every file whose SHA-256 is not the manifest's."""
    notes = []
    for role, checkpoint in checkpoints.items():
        recorded = (manifest["sources"].get(role) or {}).get("sha256", {})
        files = checkpoint.source_files()
        total = sum(file.stat().st_size for file in files)
        with reporter.stage(f"Comparing the {role}'s checksums", total) as advance:
            found = hash_files(files, advance)
        notes += [
            f"the {role}'s {name} is not the file the bundle was made from"
            for name in sorted(recorded.keys() & found.keys())
            if recorded[name] != found[name]
        ]
        notes += [
            f"the {role}'s {name} is missing here; the bundle was made with one"
            for name in sorted(recorded.keys() - found.keys())
        ]
    return notes
