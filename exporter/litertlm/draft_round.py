"""The graph of a draft round: a drafter that has no weights of its own.

It needs the token table and the drafter's weights, which lie in two sections of the bundle, and a graph
finds its weights by offsets from its own start. So whoever loads it puts the three side by side in
memory, mapped and not copied (see ``exporter.bundle.layout``), and the offsets reach from the graph
into the sections. The single steps are part of it as well: one model then serves both, and what a
runtime makes of the weights is there once.
"""

from __future__ import annotations

from collections.abc import Mapping

from exporter.bundle.layout import BLOCK, DRAFT_ROUND_SECTIONS, side_by_side
from exporter.contract.names import Section
from exporter.errors import LoweringError
from exporter.litertlm.bind import SCALE_BYTES, TABLE_BYTES, LoweredGraph
from exporter.litertlm.constant import ALIGNMENT, Constant
from exporter.lowering.merge import Lowered, merge
from exporter.weights.matching import Weights
from quantize.recipe import Recipe

EMBEDDER_PREFIX = "embedder."
"""Of the names that the embedder's parameters have here; the drafter's keep their own."""

Constants = Mapping[Section, Mapping[str, Constant]]


def bind_draft_round(
    lowered: Lowered,
    weights: Weights,
    recipe: Recipe,
    written: Constants,
    lengths: Mapping[Section, int],
) -> bytes:
    """The graph, its weights found in the sections that have been bound.

    Args:
        lowered: With a draft round.
        weights: Of the sections.
        recipe: How they are stored.
        written: What binding the sections returned.
        lengths: Of the bound sections, in bytes.

    Raises:
        LoweringError: The packed graph changed its length, which would shift every offset.
    """
    graph = _graph(lowered)
    embedder = {EMBEDDER_PREFIX + n: weight for n, weight in weights[Section.EMBEDDER].items()}
    constants = graph.make_constants({**embedder, **weights[Section.MTP_DRAFTER]}, recipe)
    packed = len(graph.pack())
    starts = side_by_side(packed, [lengths[section] for section in DRAFT_ROUND_SECTIONS])
    for own_name, constant in constants.items():
        section, name = section_and_name(own_name)
        start = starts[DRAFT_ROUND_SECTIONS.index(section)]
        constant.refer_to(written[section][name], start)
    found = graph.pack()
    if len(found) != packed:
        raise LoweringError(f"the draft graph is {len(found)} bytes with its scales, not {packed}")
    return found


def draft_round_size(lowered: Lowered, weights: Weights) -> int:
    """Upper bound of the bytes :func:`bind_draft_round` will give."""
    if lowered.draft_round is None:
        return 0
    drafter = lowered.sections[Section.MTP_DRAFTER]
    uses = _graph(lowered).uses()
    read = [weight for section in DRAFT_ROUND_SECTIONS for weight in weights[section].values()]
    scales = sum(weight.rows * SCALE_BYTES for weight in read)
    tables = sum((2 + number) * TABLE_BYTES for number in uses.values())
    return len(drafter) + len(lowered.draft_round) + scales + tables + ALIGNMENT + BLOCK


def _graph(lowered: Lowered) -> LoweredGraph:
    assert lowered.draft_round is not None
    return LoweredGraph(merge([lowered.sections[Section.MTP_DRAFTER], lowered.draft_round]))


def section_and_name(own_name: str) -> tuple[Section, str]:
    """Where a weight of this graph is, and what that section calls it."""
    if own_name.startswith(EMBEDDER_PREFIX):
        return Section.EMBEDDER, own_name.removeprefix(EMBEDDER_PREFIX)
    return Section.MTP_DRAFTER, own_name
