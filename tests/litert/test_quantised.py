"""The same graphs with quantised weights, against torch with the values those stand for."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from exporter.contract import names
from exporter.contract.names import Section
from exporter.model.text.decoder import DecoderLayer
from exporter.model.text.drafter import FLOOR_LOGIT
from exporter.weights.matching import Weight
from exporter.weights.storing import choose_rule
from quantize.arrays import dequantize_rows, quantize_rows
from quantize.builtin_recipes import RECIPES
from quantize.recipe import Recipe
from tests import pairs as pair_files
from tests.bundles import DRAFT_LENGTH, SHORT_PREFILLS
from tests.eager import Eager
from tests.litert.graphs import (
    BOUND_RECIPES,
    HEADS,
    LENGTH,
    SAME_GRAPH_TOLERANCE,
    STALE,
    TOLERANCE,
    WHOLE_STACK_ERROR,
    Bound,
    LiteRt,
    Text,
    assert_caches_close,
    assert_close,
)

QUANTISED = [name for name in BOUND_RECIPES if name != "float32"]


@dataclass(frozen=True)
class Quantised:
    """LiteRT with a recipe's weights, and torch with the float values that they stand for."""

    litert: LiteRt
    eager: Eager


@pytest.fixture(scope="session", params=QUANTISED)
def quantised(
    request: pytest.FixtureRequest, bounds: dict[str, Bound], eagers: dict[str, Eager]
) -> Quantised:
    """The pair with the centroid head."""
    bound, eager = bounds["e2b"], copy.deepcopy(eagers["e2b"])
    recipe = RECIPES[request.param]
    for section, model in (
        (Section.EMBEDDER, eager.embedder),
        (Section.PER_LAYER_EMBEDDER, eager.per_layer_embedder),
        (Section.PREFILL_DECODE, eager.target),
        (Section.MTP_DRAFTER, eager.drafters[HEADS["e2b"]]),
    ):
        round_weights(model, bound.weights[section], recipe)
    return Quantised(LiteRt(bound, request.param), eager)


@torch.no_grad()
def round_weights(model: nn.Module, weights: Mapping[str, Weight], recipe: Recipe) -> None:
    for name, parameter in model.named_parameters():
        rule = choose_rule(weights[name], recipe)
        if rule is not None and rule.storage.quantised:
            codes = quantize_rows(parameter.numpy(), rule.storage, rule.algorithm)
            rounded = dequantize_rows(codes)
            assert not np.array_equal(rounded, parameter.numpy())
            parameter.copy_(torch.from_numpy(rounded))


def test_quantised_tables_are_exact(quantised: Quantised) -> None:
    """A lookup multiplies codes by their scale; there is nothing to round."""
    for token in (0, 5, pair_files.VOCABULARY - 1):
        ids = torch.tensor([[token]], dtype=torch.int32)
        inputs = {names.TOKEN_IDS: ids}
        embedded = quantised.litert.run(Section.EMBEDDER, names.EMBED, inputs)
        reference = quantised.eager.embedder(ids)
        assert_close(embedded[names.EMBEDDINGS], reference, SAME_GRAPH_TOLERANCE)
        per_layer = quantised.litert.run(Section.PER_LAYER_EMBEDDER, names.EMBED_PER_LAYER, inputs)
        reference = quantised.eager.per_layer_embedder(ids)
        assert_close(per_layer[names.PER_LAYER_EMBEDDINGS], reference, SAME_GRAPH_TOLERANCE)


def test_quantised_products_use_the_stored_weights(quantised: Quantised) -> None:
    """One-hot activations survive 8 bits, so products are columns of W, without any rounding.

    Layer 0's values are such a product and a norm; each token of a verify picks another column.
    """
    eager, columns = quantised.eager, torch.tensor([0, 3, 64, 127])
    tokens = torch.zeros(DRAFT_LENGTH + 1, dtype=torch.int64)
    _, *others = eager.inputs(tokens, 0)
    one_hot = nn.functional.one_hot(columns, eager.target.config.text.hidden_size).float()[None]
    caches = eager.empty_caches(STALE)
    outputs = quantised.litert.target(names.VERIFY, [one_hot, *others], caches)
    layer = first_layer(eager)
    stored = layer.self_attn.v_proj.weight[:, columns]  # [D, T]
    assert layer.input_layernorm.weight is not None
    signs = layer.input_layernorm.weight.reshape(-1)[columns].sign()
    expected = stored * signs / stored.square().mean(0).sqrt()
    values = outputs[names.value_cache(0)][0, 0, :, : DRAFT_LENGTH + 1]
    assert_close(values, expected, TOLERANCE)


def first_layer(eager: Eager) -> DecoderLayer:
    """Its values are the stack's first product that reaches a cache."""
    layer = eager.target.layers[0]
    assert isinstance(layer, DecoderLayer)
    return layer


def test_one_quantised_product(quantised: Quantised, texts: dict[str, Text]) -> None:
    """Layer 0's values are one product and a norm, so the error of an 8-bit product is provable.

    An activation is off by at most half a step, a step being a 255th of the row's range (zero
    included). So element j of y = W a is off by at most b_j = step / 2 * sum |W_j|, and the norm
    passes on (b_j + |y_j| / |y| * |b|) / rms(y), to first order.
    """
    tokens, eager = texts["e2b"].tokens[: DRAFT_LENGTH + 1], quantised.eager
    step = quantised.litert.step(eager, tokens, 0, eager.empty_caches())
    layer = first_layer(eager)
    activations = layer.input_layernorm(eager.inputs(tokens, 0)[0])[0]  # [T, H]
    spread = activations.amax(-1).clamp(min=0) - activations.amin(-1).clamp(max=0)
    weight = layer.self_attn.v_proj.weight
    product = activations @ weight.T  # [T, D]
    bound = spread[:, None] / 255 / 2 * weight.abs().sum(-1)  # [T, D]
    rms = product.square().mean(-1, keepdim=True).sqrt()
    share = product.abs() * bound.norm(dim=-1, keepdim=True) / product.norm(dim=-1, keepdim=True)
    off = (step.caches[0].values[0, 0, :, : DRAFT_LENGTH + 1].T - product / rms).abs()
    assert (off <= 1.05 * (bound + share) / rms).all()
    assert off.max() > 0, "activations are not rounded: this is not the 8-bit kernel"


@pytest.mark.parametrize("signature", [names.DECODE, names.VERIFY])
def test_quantised_step(quantised: Quantised, texts: dict[str, Text], signature: str) -> None:
    tokens, eager = texts["e2b"].tokens, quantised.eager
    before = eager.prefill(tokens[:LENGTH], 0, eager.empty_caches(STALE))
    count = 1 if signature == names.DECODE else DRAFT_LENGTH + 1
    chunk = tokens[LENGTH : LENGTH + count]
    ours = quantised.litert.step(eager, chunk, LENGTH, before)
    reference = eager.forward(chunk, LENGTH, before)
    assert_close(ours.logits, reference.logits, WHOLE_STACK_ERROR, "logits")
    assert_close(ours.hidden, reference.hidden, WHOLE_STACK_ERROR, "activations")
    assert_caches_close(ours.caches, reference.caches, LENGTH + count, WHOLE_STACK_ERROR)


def test_quantised_prefill(quantised: Quantised, texts: dict[str, Text]) -> None:
    tokens, eager = texts["e2b"].tokens[:LENGTH], quantised.eager
    caches = eager.empty_caches(STALE)
    for start in range(0, LENGTH, SHORT_PREFILLS[-1]):
        chunk = tokens[start : start + SHORT_PREFILLS[-1]]
        caches = quantised.litert.prefill(eager, chunk, start, caches)
    reference = eager.prefill(tokens, 0, eager.empty_caches())
    assert_caches_close(caches, reference, LENGTH, WHOLE_STACK_ERROR)


def test_quantised_drafter(quantised: Quantised, texts: dict[str, Text]) -> None:
    """Rounded activations may choose another cluster at the margin: most are the same."""
    tokens, eager = texts["e2b"].tokens, quantised.eager
    step = eager.forward(tokens[:LENGTH], 0, eager.empty_caches(STALE))
    token, state = tokens[LENGTH], step.hidden[0, -1]
    ours = quantised.litert.draft(eager, token, state, LENGTH, step.caches)
    reference = eager.draft(HEADS["e2b"], token, state, LENGTH, step.caches)
    assert_close(
        ours[names.PROJECTED_ACTIVATIONS], reference.projected, WHOLE_STACK_ERROR, "projected"
    )
    scored = reference.logits > FLOOR_LOGIT
    both = scored & (ours[names.LOGITS] > FLOOR_LOGIT)
    assert both.sum() > 0.7 * scored.sum()
    assert_close(
        ours[names.LOGITS][both], reference.logits[both], WHOLE_STACK_ERROR, "draft logits"
    )
