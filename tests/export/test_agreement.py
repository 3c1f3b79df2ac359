"""What is decided about a bundle's shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from exporter.agreement import choose_placeholder
from exporter.checkpoints.architecture import TargetConfig
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.configs.config import parse_target
from tests.bundles import TINY_TARGET

CACHE_LENGTH = 256


def with_vocabulary(target: TargetConfig, size: int) -> TargetConfig:
    return replace(target, text=replace(target.text, vocab_size=size))


def with_per_layer_vocabulary(target: TargetConfig, size: int) -> TargetConfig:
    return replace(target, per_layer_vocab_size=size)


def with_queries(target: TargetConfig, size: int) -> TargetConfig:
    layers = tuple(replace(layer, head_dim=size // 8) for layer in target.text.layers)
    return replace(target, text=replace(target.text, heads=8, layers=layers))


@pytest.mark.parametrize("resized", [with_vocabulary, with_per_layer_vocabulary, with_queries])
def test_the_placeholder_is_no_factor_of_a_size(
    resized: Callable[[TargetConfig, int], TargetConfig],
) -> None:
    """Whoever loads a bundle replaces every multiple of it."""
    target = parse_target(open_checkpoint(TINY_TARGET).config, "tiny")
    usual = choose_placeholder(target, CACHE_LENGTH)
    assert choose_placeholder(resized(target, 8 * (usual + 1)), CACHE_LENGTH) == usual
    assert choose_placeholder(resized(target, 8 * usual), CACHE_LENGTH) > usual
