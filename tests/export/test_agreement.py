"""What is decided about a bundle's shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from planted_pair.sizes import SIZES

from exporter.agreement import LONGEST_CACHE, choose_placeholder, make_contract
from exporter.checkpoints.architecture import TargetConfig
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.contract.caches import stated
from exporter.errors import ConfigError
from exporter.options import ExportOptions, SlidingCache
from quantize.builtin_recipes import RECIPES
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


@pytest.mark.parametrize(
    ("size", "sliding", "asked", "lengths"),
    [
        ("e2b", SlidingCache.FULL, None, "640 to 1024 or 1536 to 131100"),
        ("e2b", SlidingCache.RING, None, "128 to 131100"),
        ("e2b", SlidingCache.RING, 131072, "128 to 131100"),
        ("e4b", SlidingCache.RING, None, "128 to 131100"),
        ("e4b", SlidingCache.FULL, 131072, "640 to 1024 or 1536 to 131100"),
    ],
)
def test_lengths_of_real_sizes(
    size: str, sliding: SlidingCache, asked: int | None, lengths: str
) -> None:
    """Apps open with 1024 slots unless they are told otherwise; the models were trained for 131072."""
    made = SIZES[size]
    target = parse_target(made.target_config(), size)
    drafter = parse_drafter(made.drafter_config(), size)
    options = ExportOptions(RECIPES["int4"], asked, sliding_cache=sliding)
    agreed = make_contract(target, drafter, options)
    assert agreed.cache_length == (asked or 4096)
    assert stated(agreed.cache_lengths) == lengths
    for slots in (1024, 4096, LONGEST_CACHE):
        assert agreed.resized(slots).cache_length == slots


def test_a_cache_is_no_longer_than_what_a_model_was_trained_for() -> None:
    target = parse_target(SIZES["e2b"].target_config(), "e2b")
    with pytest.raises(ConfigError, match="131073 slots is more than the 131072 positions"):
        make_contract(target, None, ExportOptions(RECIPES["int4"], 131073))
