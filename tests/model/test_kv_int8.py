"""Int8 caches in torch: what they cost is the rounding, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.contract.names import Dtype, Section
from exporter.lowering import signatures
from exporter.model.text.drafter import Drafter
from exporter.model.text.kv import Kv
from exporter.model.text.kv_int8 import LARGEST_CODE, Int8Kv, KvScales, codes
from exporter.model.text.target import Target
from exporter.weights.parameters import parameter_specs
from tests.pairs import Pair

HEADS, SLOTS, WIDTH, TOKENS, ROWS = 2, 24, 8, 5, 12
SLACK = 1e-5
"""Sums in float32, of numbers around 1."""


@pytest.fixture
def source() -> torch.Generator:
    return torch.Generator().manual_seed(11)


@pytest.fixture
def scales(source: torch.Generator) -> KvScales:
    """Channels of different width, such that entries of a standard deviation of 1 rarely clip."""
    made = KvScales(WIDTH)
    for parameter in made.parameters():
        nn.init.uniform_(parameter, 0.03, 0.08, generator=source)
        parameter.requires_grad = False
    return made


def empty(scales: KvScales) -> Int8Kv:
    keys = torch.zeros(1, HEADS, SLOTS, WIDTH, dtype=torch.int8)
    return Int8Kv(keys, keys.transpose(2, 3).clone(), scales)


def empty_floats() -> Kv:
    keys = torch.zeros(1, HEADS, SLOTS, WIDTH)
    return Kv(keys, keys.transpose(2, 3).clone())


def entries(source: torch.Generator, tokens: int = TOKENS) -> tuple[Tensor, Tensor]:
    shape = (1, tokens, HEADS, WIDTH)
    limit = 3.5  # within what the scales can say
    keys, values = (torch.randn(shape, generator=source).clamp(-limit, limit) for _ in range(2))
    return keys, values


def at(slot: int) -> Tensor:
    return torch.tensor(slot, dtype=torch.int32)


def test_codes_are_the_nearest(source: torch.Generator, scales: KvScales) -> None:
    keys, _ = entries(source)
    off = (codes(keys, scales.keys).float() * scales.keys - keys).abs()
    assert (off <= scales.keys / 2 + SLACK).all()


def test_codes_out_of_range_are_clamped() -> None:
    wide = torch.tensor([-1e6, -127.4, 127.6, 3e9]).reshape(1, 1, 1, 4)
    found = codes(wide, torch.ones(1, 1, 1, 4)).flatten().tolist()
    assert found == [-LARGEST_CODE, -127, LARGEST_CODE, LARGEST_CODE]


def test_products_are_off_by_the_rounding_alone(source: torch.Generator, scales: KvScales) -> None:
    """A score by half a step of each key channel its query has; a mixed value by half a step."""
    floats: Kv = empty_floats()
    coded: Kv = empty(scales)
    for slot in (0, TOKENS, 2 * TOKENS):
        new = entries(source)
        floats, coded = floats.written(*new, at(slot)), coded.written(*new, at(slot))
    read = coded.readable()
    rows = torch.randn(1, HEADS, ROWS, WIDTH, generator=source)
    allowed = (rows.abs() * scales.keys / 2).sum(-1, keepdim=True)
    assert ((read.scores(rows) - floats.scores(rows)).abs() <= allowed + SLACK).all()
    weights = torch.softmax(torch.randn(1, HEADS, ROWS, SLOTS, generator=source), -1)
    off = (read.mixed(weights) - floats.mixed(weights)).abs()
    assert (off <= scales.values / 2 + SLACK).all()


def test_only_the_slots_written_change(source: torch.Generator, scales: KvScales) -> None:
    before = empty(scales).written(*entries(source, SLOTS), at(0))
    after = before.written(*entries(source), at(7))
    others = [slot for slot in range(SLOTS) if not 7 <= slot < 7 + TOKENS]
    assert after.keys.dtype is after.values.dtype is torch.int8
    assert torch.equal(after.keys[:, :, others], before.keys[:, :, others])
    assert torch.equal(after.values[..., others], before.values[..., others])
    assert not torch.equal(after.keys, before.keys)


def test_padding_at_the_end_is_kept_off_good_entries(
    source: torch.Generator, scales: KvScales
) -> None:
    """As float caches do it: the same slots in codes."""
    new, more = entries(source, SLOTS), entries(source)
    slot, filled = at(SLOTS - 2), at(SLOTS)  # two real entries, three of padding
    coded = empty(scales).written(*new, at(0)).written_padded(*more, slot, filled)
    floats = empty_floats().written(*new, at(0)).written_padded(*more, slot, filled)
    expected = codes(floats.keys.transpose(1, 2), scales.keys).transpose(1, 2)
    assert torch.equal(coded.keys, expected)


def test_the_parameter_table_has_the_scales(pair: Pair) -> None:
    target = parse_target(open_checkpoint(pair.target).config, "target")
    drafter = parse_drafter(open_checkpoint(pair.drafter).config, "drafter")
    with torch.device("meta"):
        models = {
            Section.PREFILL_DECODE: Target(target, Dtype.INT8),
            Section.MTP_DRAFTER: Drafter(drafter, HeadKind.FULL, Dtype.INT8),
        }
    expected = parameter_specs(target, drafter, HeadKind.FULL, Dtype.INT8)
    for section, model in models.items():
        assert signatures.parameter_specs(model) == expected[section]
