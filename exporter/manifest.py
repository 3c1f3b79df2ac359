"""The manifest: how a bundle was made, as a JSON object inside the bundle.

Holds no absolute path and no time, so that equal inputs give equal manifests.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from exporter.bundle.stored_contract import contract_block
from exporter.bundle.tensor_kind import tensor_kind
from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.lora.adapter import Adapter
from exporter.contract.media import Media
from exporter.contract.names import Section
from exporter.contract.text import Contract
from exporter.errors import BundleError
from exporter.options import Activations
from exporter.version import tool_versions
from exporter.weights.storing import StoredWeight
from quantize.recipe import Recipe
from quantize.recipe_file import parse_recipe

MANIFEST_VERSION = 1

Choice = TypeVar("Choice", bound=enum.StrEnum)

ACTIVATIONS_KEY = "activations"
"""Key among the options of a bundle for the GPU that says what to compute with; missing in all others."""


def source_block(
    checkpoint: Checkpoint, hashes: Mapping[str, str], ignored: Sequence[str]
) -> dict[str, Any]:
    """Where a checkpoint came from, what of it was not used and, of a tuned drafter, how it was tuned."""
    tuning = checkpoint.tuning()
    return {
        "source": checkpoint.source,
        "revision": checkpoint.revision,
        "sha256": dict(hashes),
        "adapter": _adapter_block(checkpoint.adapter),
        "ignored_tensors": dict(group_names(ignored)),
        **({"tuning": tuning} if tuning is not None else {}),
    }


def _adapter_block(adapter: Adapter | None) -> dict[str, Any] | None:
    if adapter is None:
        return None
    return {"source": adapter.source, "revision": adapter.revision}


def group_names(names: Sequence[str]) -> Counter[str]:
    """Count tensor names by their kind: indices become ``*`` and only the module path is kept."""
    return Counter(tensor_kind(name).rsplit(".", 1)[0] for name in names)


def stored_recipe(manifest: Mapping[str, Any]) -> Recipe:
    """The recipe that a bundle was made with; one without rules if the manifest has none.

    Raises:
        RecipeError: The manifest's rules are of another version of this tool.
    """
    block = manifest.get("recipe", {})
    name, rules = str(block.get("name", "unknown")), block.get("rules", [])
    return (
        parse_recipe({"name": name, "rules": rules}, "manifest") if rules else Recipe(name, "", ())
    )


def stored_activations(manifest: Mapping[str, Any]) -> Activations | None:
    """What a bundle was made to be computed with on a GPU; None if that was left to the engine.

    Raises:
        BundleError: It says something that this version does not know.
    """
    return _stored(manifest, ACTIVATIONS_KEY, Activations)


def stored_head(manifest: Mapping[str, Any]) -> HeadKind | None:
    """Which of the drafter's heads a bundle has, as far as its manifest says it.

    Raises:
        BundleError: As of :func:`stored_activations`.
    """
    return _stored(manifest, "drafter_head", HeadKind)


def _stored(manifest: Mapping[str, Any], key: str, kind: type[Choice]) -> Choice | None:
    found = manifest.get("options", {}).get(key)
    try:
        return None if found is None else kind(found)
    except ValueError as error:
        raise BundleError(
            f"the manifest's {key}: expected {' or '.join(kind)}, found {found!r}"
        ) from error


def build_manifest(
    *,
    sources: Mapping[str, Mapping[str, Any]],
    recipe: Mapping[str, Any],
    options: Mapping[str, Any],
    contract: Contract,
    graphs: Mapping[str, Any],
    stored: Mapping[Section, Sequence[StoredWeight]],
    trained_codes: Mapping[str, Sequence[object]],
    media: Media,
) -> dict[str, Any]:
    """Assemble the manifest of one bundle; only one that takes pictures or sound says so."""
    return {
        "manifest_version": MANIFEST_VERSION,
        "sources": dict(sources),
        "recipe": dict(recipe),
        "options": dict(options),
        "contract": contract_block(contract),
        "graphs": dict(graphs),
        "weights": {
            section.value: {weight.name: [weight.storage, weight.nbytes] for weight in weights}
            for section, weights in stored.items()
        },
        "trained_codes": dict(trained_codes),
        "tools": tool_versions(),
        **{kind: taken for kind, taken in asdict(media).items() if taken is not None},
    }
