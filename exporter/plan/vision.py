"""What an export will make of a checkpoint's vision tower: everything is looked at here, nothing written.

A tower that a checkpoint has becomes part of the bundle, unless the user asked otherwise or something is
missing; what is left out is said in one sentence.
"""

from __future__ import annotations

from exporter.checkpoints.assets.assets import Assets
from exporter.checkpoints.assets.media_tokens import PICTURE
from exporter.checkpoints.assets.picture_settings import check_picture_settings
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.configs.vision import parse_vision
from exporter.checkpoints.tensors.tower_names import VISION
from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.contract.vision import DEFAULT_IMAGE_TOKENS, VisionContract
from exporter.errors import ConfigError
from exporter.lowering.vision import VisionRequest
from exporter.options import ExportOptions
from exporter.plan.towers import Candidate, TowerPlan
from exporter.weights.matching import Weight
from exporter.weights.towers import find_tower_weights
from exporter.weights.vision import VisionLayout
from exporter.weights.vision_parameters import vision_parameter_specs

VisionPlan = TowerPlan[VisionRequest]


def plan_vision(
    target: Checkpoint,
    assets: Assets,
    embedding: Weight,
    options: ExportOptions,
) -> tuple[VisionPlan | None, tuple[str, ...]]:
    """Decide about pictures: what will be made, and what to tell of it. None if the bundle will take none.

    Args:
        target: The checkpoint.
        assets: Its text side.
        embedding: Its token table.
        options: What the user chose.

    Raises:
        ConfigError: The tower is of a kind that cannot be exported, or pictures were asked for and there can
            be none.
        CheckpointError: Listing tensors of the tower that are missing or mis-shaped, or settings of the
            processor that the engine cannot be told.
    """
    config = parse_vision(target.config, str(target.folder)) if options.vision else None
    tokens = assets.picture_tokens
    candidate = Candidate(target, VISION, PICTURE, tokens, options.vision, config is not None)
    why = _left_out(candidate, config, assets, options)
    if why is not None:
        asked = None if options.image_tokens is None else "--image-tokens"
        return None, candidate.told(why, asked)
    assert config is not None
    assert tokens is not None
    budgets = options.image_tokens or fitting_budgets(config)
    contract = vision_contract(config, embedding.row_length, budgets)
    _check_sides(target, config, contract)
    check_picture_settings(target, config)
    specs = vision_parameter_specs(config, contract.hidden_size)
    layout = VisionLayout(options.accelerator)
    weights = find_tower_weights(layout, specs, target, embedding, tokens.end_id)
    request = VisionRequest(config, contract, options.accelerator)
    return TowerPlan(request, specs, weights), ()


def vision_contract(
    config: VisionConfig, hidden_size: int, image_tokens: tuple[int, ...] | None = None
) -> VisionContract:
    """Every shape that crosses the boundary of the graphs for pictures."""
    tokens = tuple(sorted(set(image_tokens or DEFAULT_IMAGE_TOKENS)))
    return VisionContract(
        tokens, config.patch_size, config.pooling, config.hidden_size, hidden_size
    )


def _left_out(
    candidate: Candidate, config: VisionConfig | None, assets: Assets, options: ExportOptions
) -> str | None:
    """Why there will be no pictures, as the end of a sentence; None if there will."""
    if (why := candidate.left_out(assets, options.format)) is not None:
        return why
    assert config is not None
    if options.image_tokens is None and not fitting_budgets(config):
        return f"the tower knows {config.position_count} places, too few for the default budgets"
    return None


def fitting_budgets(config: VisionConfig) -> tuple[int, ...]:
    """The default budgets for which the tower knows enough places."""
    return tuple(n for n in DEFAULT_IMAGE_TOKENS if n * config.pooling <= config.position_count)


def _check_sides(target: Checkpoint, config: VisionConfig, contract: VisionContract) -> None:
    """Check that the tower knows the places of the longest strip of a picture.

    Raises:
        ConfigError: It does not.
    """
    longest = contract.image_tokens[-1] * config.pooling
    if longest > config.position_count:
        raise ConfigError(
            f"{target.folder}: a picture of {contract.image_tokens[-1]} tokens can be {longest} patches "
            f"long, and this tower knows {config.position_count} places; choose fewer --image-tokens"
        )
