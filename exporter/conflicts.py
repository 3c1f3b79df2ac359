"""What cannot be asked of an export, all in one place.

Options that contradict each other, that the checkpoints do not allow, and a recipe that does not fit
the weights. All of it is found before anything expensive starts.
"""

from __future__ import annotations

from collections.abc import Iterator

from exporter.bundle.tensor_kind import tensor_kind
from exporter.checkpoints.architecture import DrafterConfig, HeadKind, TargetConfig
from exporter.checkpoints.tensors.tower_names import AUDIO, VISION
from exporter.contract.caches import is_prime
from exporter.contract.names import Accelerator, Dtype, Section
from exporter.contract.text import Contract
from exporter.errors import ConfigError, OptionsError, RecipeError, listed
from exporter.options import ExportOptions, OutputFormat, SlidingCache
from exporter.weights.matching import Weight, Weights
from exporter.weights.storing import misfits
from quantize.recipe import Algorithm, Recipe

NEEDS_DRAFTER = "--drafter-head, --drafter-lora and --drafter-revision need a DRAFTER"

TABLES = (Section.EMBEDDER, Section.PER_LAYER_EMBEDDER)
"""Sections that only look rows up."""

OPTIONAL = {
    Section.MTP_DRAFTER: "drafter.",
    Section.VISION_ENCODER: "vision.",
    Section.AUDIO_ENCODER: "audio.",
}
"""Sections that a bundle may be without, and how names of their weights begin."""


def check_options(options: ExportOptions, *, drafter: bool) -> None:
    """Check that options do not contradict each other, whatever the checkpoints are.

    Args:
        options: What the user chose.
        drafter: Whether the bundle will have one.

    Raises:
        OptionsError: One makes no sense beside another.
        ConfigError: They make sense, and there are no such graphs.
    """
    onnx, gpu = options.format is OutputFormat.ONNX, options.accelerator is Accelerator.GPU
    int8_caches = options.kv_dtype is Dtype.INT8
    ring = options.sliding_cache is SlidingCache.RING
    senseless = {
        "graphs for a GPU hold operations of LiteRT's delegate: --format onnx needs --accelerator cpu": (
            onnx and gpu
        ),
        NEEDS_DRAFTER: options.drafter_head is not None and not drafter,
        "--batch needs --format litertlm": onnx and options.batch > 1,
        "--kv-cache int8 needs --format litertlm": onnx and int8_caches,
        "--sliding-cache ring needs --format litertlm": onnx and ring,
        "--activations is for graphs for a GPU: LiteRT computes in float32 on a CPU; add --accelerator "
        "gpu, or leave it out": options.activations is not None and not gpu,
        "--rewind-tokens is for rings; add --sliding-cache ring": options.rewind_tokens
        and not ring,
        "--image-tokens is for bundles that take pictures; leave out --no-vision": (
            options.image_tokens is not None and not options.vision
        ),
        "--audio-seconds is for bundles that take sound; leave out --no-audio": (
            options.audio_seconds is not None and not options.audio
        ),
    }
    impossible = {
        "several sequences at once run on the CPU only; leave out --batch": (
            gpu and options.batch > 1
        ),
        "the operations that read and write caches on a GPU are exported for float caches only; "
        "leave out --kv-cache int8": gpu and int8_caches,
        "the engine does not tell a GPU how many tokens to write to a ring, so none would be (docs/gpu.md); "
        "leave out --sliding-cache ring": gpu and ring,
        "LiteRT's GPU delegate has no scatter, which a centroid head ends with; export with "
        "--drafter-head full": gpu and options.drafter_head is HeadKind.CENTROID,
    }
    for error, conflicts in ((OptionsError, senseless), (ConfigError, impossible)):
        if found := [said for said, applies in conflicts.items() if applies]:
            raise error(listed(found))


def check_head(drafter: DrafterConfig, options: ExportOptions) -> None:
    """Check that the drafter has the head that is asked for.

    Raises:
        ConfigError: It has no centroid head.
    """
    if options.drafter_head is HeadKind.CENTROID and drafter.centroid_head is None:
        raise ConfigError(
            "this drafter was trained without ordered embeddings (use_ordered_embeddings is false), so "
            "it has no centroid head; export with --drafter-head full"
        )


def check_lengths(agreed: Contract, target: TargetConfig) -> None:
    """Check that cache, prefill and draft lengths fit the model and each other.

    Raises:
        ConfigError: They do not.
    """
    cache_length = agreed.cache_length
    if cache_length > target.max_position:
        raise ConfigError(
            f"a cache of {cache_length} slots is more than the {target.max_position} positions this "
            "model was trained for; choose a smaller --cache-length"
        )
    if too_long := [tokens for tokens in agreed.prefill_lengths if tokens > cache_length]:
        raise ConfigError(
            f"a prefill of {too_long[0]} tokens does not fit a cache of {cache_length} slots; choose "
            "smaller --prefill-lengths or a larger --cache-length"
        )
    if agreed.draft_length + 1 >= cache_length:
        raise ConfigError(
            f"{agreed.draft_length} drafts do not fit a cache of {cache_length} slots"
        )
    if agreed.shortest_cache > cache_length:
        raise ConfigError(
            f"these graphs need {agreed.shortest_cache} slots (a window of {agreed.sliding_window} and "
            f"the longest prefill), {cache_length} were asked for; choose a larger --cache-length or "
            "smaller --prefill-lengths, or add --fixed-cache-length"
        )
    if agreed.placeholder is None and is_prime(cache_length):
        raise ConfigError(
            f"the engine takes a prime number of slots for one to be chosen at load, and {cache_length} "
            "is one; choose another --cache-length, or leave out --fixed-cache-length"
        )


def check_recipe(options: ExportOptions, weights: Weights) -> None:
    """Check that every rule has something to say and can be carried out.

    Args:
        options: How the weights are to be stored, and the text for that.
        weights: Of the bundle's sections.

    Raises:
        RecipeError: Naming rules that match no matrix or table, tensors whose rows do not fit their
            storage, GPTQ where it cannot be, and a calibration text that is missing or unused.
    """
    recipe = options.recipe
    wanted = [
        (weight.name, weight.row_length, recipe.storage(weight.name))
        for _, weight in _matrices(weights)
        if weight.ready is None
    ]
    problems = [*_idle(recipe, weights), *misfits(wanted), *_looked_up(recipe, weights)]
    if recipe.calibrated and options.calibration is None:
        problems.append("gptq needs a text: give --calibration FILE.txt, or use clip instead")
    if options.calibration is not None and not options.reads_text:
        problems.append("no rule is gptq, so a calibration text is of no use: leave it out")
    if problems:
        raise RecipeError(f"recipe {recipe.name}: {listed(problems)}")


def _matrices(weights: Weights) -> Iterator[tuple[Section, Weight]]:
    for section, found in weights.items():
        for weight in found.values():
            if weight.is_matrix:
                yield section, weight


def _idle(recipe: Recipe, weights: Weights) -> Iterator[str]:
    """Rules that match nothing; in a bundle without a drafter or a tower, one for it may."""
    idle = recipe.unmatched(weight.name for _, weight in _matrices(weights))
    for section, prefix in OPTIONAL.items():
        if section not in weights:
            idle = [pattern for pattern in idle if not pattern.startswith(prefix)]
    if idle:
        yield (
            f"no matrix or table of this model matches {', '.join(idle)}; correct or remove these "
            "rules"
        )


def _looked_up(recipe: Recipe, weights: Weights) -> Iterator[str]:
    """GPTQ where no text goes through, told once for tensors that differ only in their layer."""
    without_inputs = dict.fromkeys(TABLES, "is looked up and never multiplied")
    for tower in (VISION, AUDIO):
        said = f"is of the {tower.kind} tower, which sees no text"
        without_inputs |= dict.fromkeys(tower.sections, said)
    asked = {
        tensor_kind(weight.name): without_inputs[section]
        for section, weight in _matrices(weights)
        if section in without_inputs and recipe.rule(weight.name).algorithm is Algorithm.GPTQ
    }
    for kind, said in asked.items():
        yield f"{kind} {said}, so gptq has no inputs to go by; give it clip"
