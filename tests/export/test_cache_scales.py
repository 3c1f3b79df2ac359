"""Scales of int8 caches: what a text's keys and values need, at any position."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exporter.calibrate.cache_scales import HEADROOM, LEAST_SHARE, CacheRanges
from exporter.checkpoints.architecture import AttentionKind, Layer, TargetConfig
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.configs.config import parse_target
from exporter.model.text.kv_int8 import LARGEST_CODE
from exporter.model.text.layers import Rotation
from tests.bundles import TINY_TARGET

TOKENS = 40


@pytest.fixture
def config() -> TargetConfig:
    return parse_target(open_checkpoint(TINY_TARGET).config, "tiny")


@pytest.fixture
def layer(config: TargetConfig) -> Layer:
    return config.kv_donor(AttentionKind.SLIDING)


def made(layer: Layer) -> torch.Tensor:
    source = torch.Generator().manual_seed(2)
    return torch.randn(1, TOKENS, layer.kv_heads, layer.head_dim, generator=source)


def test_no_entry_of_the_text_is_clamped(layer: Layer) -> None:
    ranges, entries = CacheRanges(), made(layer)
    ranges.see(layer, entries[:, :30], entries[:, :30])
    ranges.see(layer, entries[:, 30:], entries[:, 30:])
    for part in ("keys", "values"):
        codes = entries.numpy() / ranges.scales(layer.index, part)
        assert np.abs(codes).max() <= LARGEST_CODE / HEADROOM + 1e-3
    values = ranges.scales(layer.index, "values") * LARGEST_CODE / HEADROOM
    assert np.allclose(values, entries.abs().amax((0, 1, 2)).numpy())


def test_positions_do_not_matter(config: TargetConfig, layer: Layer) -> None:
    """Keys turned to positions that the text had not give the same scales."""
    entries, found = made(layer), []
    for start in (0, 12345):
        positions = torch.arange(start, start + TOKENS)
        rotation = Rotation.at(positions, config.text.rope[layer.kind], layer.head_dim)
        ranges = CacheRanges()
        ranges.see(layer, rotation.apply(entries), entries)
        found.append(ranges.scales(layer.index, "keys"))
    assert np.allclose(found[0], found[1], rtol=1e-3)


def test_a_channel_that_never_moves_has_a_scale(layer: Layer) -> None:
    ranges, entries = CacheRanges(), made(layer)
    entries[..., 3] = 0
    ranges.see(layer, entries, entries)
    scales = ranges.scales(layer.index, "values")
    assert scales[3] == pytest.approx(scales.max() * LEAST_SHARE)


@pytest.mark.parametrize("most", [0, 1e-44, 1e-36])
def test_a_cache_that_never_moves_has_ordinary_scales(most: float, layer: Layer) -> None:
    """Never subnormal ones, by which a processor that flushes them to zero would divide."""
    ranges, entries = CacheRanges(), made(layer).clamp(-1, 1) * most
    ranges.see(layer, entries, entries)
    for part in ("keys", "values"):
        scales = ranges.scales(layer.index, part)
        assert (scales >= np.finfo(np.float32).tiny).all()
        assert most or (scales == 1).all()
