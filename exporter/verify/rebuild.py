"""Making a bundle again from what its manifest says, and what differs if the bytes do.

The manifest names sources by their checksums, the recipe, the contract and the tools; files that were given
beside the checkpoints (a calibration text, a chat template) have to be given again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from exporter.bundle.reader import Bundle, open_bundle
from exporter.bundle.stored_contract import stored_contract
from exporter.bundle.stored_pictures import stored_pictures
from exporter.bundle.stored_sound import stored_sound
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.pair import DRAFTER, TARGET, Pair
from exporter.errors import BundleError
from exporter.files.checksum import sha256
from exporter.litertlm.stamp import EPOCH_VARIABLE, TIME_KEY
from exporter.manifest import stored_activations, stored_head, stored_recipe
from exporter.options import ExportOptions
from exporter.pipeline import export
from exporter.progress import Reporter
from exporter.templates.fitting import RenderInEngine
from exporter.verify.rungs.contract import agreed_options

SOURCE_KEYS = frozenset({"source", "revision", "adapter"})
"""What the manifest has of each checkpoint, besides checksums."""


@dataclass(frozen=True)
class Inputs:
    """What a bundle is made from again."""

    target: Checkpoint
    drafter: Checkpoint | None
    calibration: Path | None = None
    chat_template: Path | None = None


def stored_manifest(path: Path) -> Mapping[str, Any]:
    """The manifest of a bundle that can be made again.

    Raises:
        BundleError: It has none, or one that does not say everything.
    """
    manifest = open_bundle(path).manifest()
    if manifest is None:
        raise BundleError(
            f"{path}: expected a bundle that mtp-export made, found one without a manifest; what it was made "
            "from is not known"
        )
    missing = {"trained_codes"} - manifest.keys() | {"drafter_head"} - manifest["options"].keys()
    for role in (TARGET, DRAFTER):
        if (block := manifest["sources"].get(role)) is not None:
            missing |= SOURCE_KEYS - block.keys()
    if missing:
        raise BundleError(
            f"{path}: expected a manifest that says what the bundle was made from, found one without "
            f"{', '.join(sorted(missing))}; it was made by another version of mtp-export"
        )
    return manifest


def rebuild(
    path: Path,
    inputs: Inputs,
    output: Path,
    *,
    force: bool,
    reporter: Reporter,
    render: RenderInEngine | None,
) -> tuple[str, ...]:
    """Make a bundle again at ``output``; returns what differs, which is nothing if the bytes are equal.

    Args:
        path: The bundle.
        inputs: What it was made from.
        output: What to write.
        force: Whether ``output`` may exist.
        reporter: Told what is going on.
        render: The engine, to try the chat template on.

    Raises:
        MtpExportError: One of its subclasses; nothing is written.
    """
    manifest = stored_manifest(path)
    target = _as_recorded(inputs.target, manifest["sources"][TARGET])
    drafter = inputs.drafter and _as_recorded(inputs.drafter, manifest["sources"][DRAFTER])
    options = replace(_options(path, manifest, inputs), force=force)
    export(target, drafter, output, options, reporter, render)
    if sha256(path) == sha256(output):
        return ()
    return tuple(_differences(open_bundle(path), open_bundle(output)))


def _as_recorded(checkpoint: Checkpoint, block: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint under the name that the manifest has for it, wherever it lies now."""
    adapter, recorded = checkpoint.adapter, block["adapter"]
    if adapter is not None and recorded is not None:
        adapter = replace(adapter, source=recorded["source"], revision=recorded["revision"])
    return replace(checkpoint, source=block["source"], revision=block["revision"], adapter=adapter)


def _options(path: Path, manifest: Mapping[str, Any], inputs: Inputs) -> ExportOptions:
    """The options that lead to what the manifest says."""
    pair = Pair.of(inputs.target, inputs.drafter)
    try:
        pictures, sound = stored_pictures(manifest), stored_sound(manifest)
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from error
    return replace(
        agreed_options(stored_contract(path, manifest), pair),
        recipe=stored_recipe(manifest),
        drafter_head=stored_head(manifest),
        calibration=inputs.calibration,
        chat_template=inputs.chat_template,
        activations=stored_activations(manifest),
        requantize=not manifest[
            "trained_codes"
        ],  # where there were none, looking for them finds none
        vision=pictures is not None,
        image_tokens=None if pictures is None else pictures.image_tokens,
        audio=sound is not None,
        audio_seconds=None if sound is None else sound.frames // sound.frames_per_second,
    )


def _differences(made: Bundle, again: Bundle) -> Iterator[str]:
    """What of two bundles is not equal, the causes first."""
    before, after = (dict(_leaves(bundle.manifest())) for bundle in (made, again))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield f"{key}: was {before.get(key, 'absent')}, is {after.get(key, 'absent')}"
    times = [bundle.system_metadata.get(TIME_KEY) for bundle in (made, again)]
    if times[0] != times[1]:
        seconds = int(datetime.fromisoformat(str(times[0])).timestamp())
        yield f"the time in the header: was {times[0]}, is {times[1]}; set {EPOCH_VARIABLE}={seconds}"
    sections = {
        bundle.path: {s.model_type or s.label or s.data_type: s.metadata for s in bundle.sections}
        for bundle in (made, again)
    }
    first, second = sections.values()
    for name in first | second:
        if first.get(name) != second.get(name):
            yield f"the section {name}: its bytes or what is said of it"
    if made.system_metadata.get("uuid") != again.system_metadata.get("uuid"):
        yield "the uuid, which follows from all else, or was made by an earlier version of mtp-export"


def _leaves(value: Any, path: str = "manifest") -> Iterator[tuple[str, Any]]:
    """Every value within JSON that is no object, by its path."""
    if not isinstance(value, dict):
        yield path, value
        return
    for key, each in value.items():
        yield from _leaves(each, f"{path}.{key}")
