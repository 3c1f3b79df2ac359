"""The lowered and bound graphs in float32, every signature, against our torch modules run eagerly.

The second rung of the ladder: ``tests.model.test_model`` has compared those modules with transformers.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from exporter.bundle.graph_reader import CONSTANT_THRESHOLD, GraphReader
from exporter.bundle.signature_check import broken_promises
from exporter.checkpoints.architecture import AttentionKind
from exporter.contract import names
from exporter.contract.names import Section
from exporter.litertlm.constant import SCALES_SUFFIX
from exporter.model.text.drafter import FLOOR_LOGIT
from exporter.model.text.kv import Kv
from exporter.model.text.target import Caches, Step
from exporter.weights.matching import Weight
from exporter.weights.storing import choose_rule
from quantize.builtin_recipes import RECIPES
from quantize.recipe import Recipe
from tests import pairs as pair_files
from tests.bundles import DRAFT_LENGTH, SHORT_PREFILLS
from tests.eager import CACHE_LENGTH, Eager
from tests.litert.graphs import (
    BOUND_RECIPES,
    HEADS,
    LENGTH,
    OTHER_CONSTANTS,
    SAME_GRAPH_TOLERANCE,
    STALE,
    TOLERANCE,
    Bound,
    LiteRt,
    Text,
    assert_caches_close,
    assert_close,
    assert_untouched,
    error,
)


@pytest.mark.parametrize("recipe", BOUND_RECIPES)
def test_signatures_keep_the_contract(bound: Bound, recipe: str) -> None:
    models = {
        section.value: GraphReader(bound.file(recipe, section).read_bytes(), "").signatures()
        for section in bound.contract.section_signatures()
    }
    assert broken_promises(bound.contract, models) == []
    wanted = {s.value: set(names) for s, names in bound.contract.section_signatures().items()}
    assert {name: set(signatures) for name, signatures in models.items()} == wanted


@pytest.mark.parametrize("recipe", BOUND_RECIPES)
def test_signatures_share_one_copy_of_each_weight(bound: Bound, recipe: str) -> None:
    """Four signatures use the target's weights; each is in the file once, in its recipe's type."""
    for section, weights in bound.weights.items():
        content = bound.file(recipe, section).read_bytes()
        constants = GraphReader(content, "").constants()
        expected = {weight.name: storage_of(weight, RECIPES[recipe]) for weight in weights.values()}
        found = {c.name: c.dtype for c in constants if c.name in expected}
        assert max(Counter(c.name for c in constants if c.name in expected).values()) == 1
        stored = {s.name: s.nbytes for s in bound.stored(recipe)[section]}
        assert stored.keys() == expected.keys()
        large = [name for name, nbytes in stored.items() if nbytes >= CONSTANT_THRESHOLD]
        assert found == {name: expected[name] for name in large}
        others = sum(
            c.nbytes for c in constants if c.name.removesuffix(SCALES_SUFFIX) not in expected
        )
        assert others <= OTHER_CONSTANTS * len(bound.contract.section_signatures()[section])


def storage_of(weight: Weight, recipe: Recipe) -> str:
    """The element type."""
    rule = choose_rule(weight, recipe)
    return weight.spec.dtype.value if rule is None else rule.storage.value.split("-")[0]


# --- float32: every signature against torch ------------------------------------------------------


@pytest.mark.parametrize("token", [0, 1, 777, pair_files.VOCABULARY - 1])
def test_embedders(litert: LiteRt, eager: Eager, token: int) -> None:
    ids = torch.tensor([[token]], dtype=torch.int32)
    inputs = {names.TOKEN_IDS: ids}
    embedded = litert.run(Section.EMBEDDER, names.EMBED, inputs)
    assert_close(embedded[names.EMBEDDINGS], eager.embedder(ids), TOLERANCE)
    per_layer = litert.run(Section.PER_LAYER_EMBEDDER, names.EMBED_PER_LAYER, inputs)
    assert_close(per_layer[names.PER_LAYER_EMBEDDINGS], eager.per_layer_embedder(ids), TOLERANCE)


@pytest.mark.parametrize("tokens", SHORT_PREFILLS)
@pytest.mark.parametrize("start", [0, 40, 100])
def test_prefill(litert: LiteRt, text: Text, start: int, tokens: int) -> None:
    """One full call, below and beyond the window: every slot of every cache."""
    before = text.committed(start)
    chunk = text.tokens[start : start + tokens]
    ours, stop = litert.prefill(text.eager, chunk, start, before), start + tokens
    assert_caches_close(ours, text.eager.prefill(chunk, start, before), stop, TOLERANCE)
    assert_untouched(ours, before, start, stop)


@pytest.mark.parametrize(
    "split",
    [
        (128, 22),
        (32,) * 4 + (22,),
        (1, 32, 100, 17),
        (20, 5, 77, 32, 16),
        (32, 33, 32, 53),
    ],
)
def test_prefill_in_chunks_is_one_pass(litert: LiteRt, text: Text, split: tuple[int, ...]) -> None:
    """Any split, with padding where a chunk is shorter than its signature."""
    assert sum(split) == LENGTH
    caches, start = text.eager.empty_caches(STALE), 0
    for count in split:
        caches = litert.prefill(text.eager, text.tokens[start : start + count], start, caches)
        start += count
    assert_caches_close(caches, text.step.caches, LENGTH, TOLERANCE)


@pytest.mark.parametrize("count", [17, 20, 26])
def test_padding_past_the_end_of_the_cache(litert: LiteRt, text: Text, count: int) -> None:
    """The last chunk begins at slot 486 of 512 and its signature has 32: good slots must stay."""
    start = CACHE_LENGTH - 26
    before = text.committed(start)
    caches = litert.prefill(text.eager, text.tokens[start : start + count], start, before)
    assert_untouched(caches, before, start, CACHE_LENGTH)
    whole = text.eager.prefill(text.tokens[: start + count], 0, text.eager.empty_caches())
    assert_caches_close(caches, whole, start + count, TOLERANCE)


@pytest.mark.parametrize("start", [0, 1, 63, 64, 65, LENGTH])
def test_decode(litert: LiteRt, text: Text, start: int) -> None:
    """One token at, below and beyond the window: logits, activations and caches."""
    before = text.committed(start)
    token = text.tokens[start : start + 1]
    ours = litert.step(text.eager, token, start, before)
    assert_steps_close(ours, text.eager.forward(token, start, before), start + 1, TOLERANCE)
    assert_untouched(ours.caches, before, start, start + 1)


@pytest.mark.parametrize("start", [1, 62, 64, LENGTH, CACHE_LENGTH - DRAFT_LENGTH - 1])
def test_verify(litert: LiteRt, text: Text, start: int) -> None:
    """The pending token and its drafts: as torch, and as LiteRT decodes them one by one."""
    before = text.committed(start)
    tokens = text.tokens[start : start + DRAFT_LENGTH + 1]
    verified, stop = litert.step(text.eager, tokens, start, before), start + len(tokens)
    assert_steps_close(verified, text.eager.forward(tokens, start, before), stop, TOLERANCE)
    assert_untouched(verified.caches, before, start, stop)
    caches, logits, hidden = before, [], []
    for i, token in enumerate(tokens):
        step = litert.step(text.eager, token.reshape(1), start + i, caches)
        caches = step.caches
        logits.append(step.logits)
        hidden.append(step.hidden)
    decoded = Step(caches, torch.cat(logits, 1), torch.cat(hidden, 1))
    assert_steps_close(verified, decoded, stop, SAME_GRAPH_TOLERANCE)
    assert torch.equal(verified.logits.argmax(-1), decoded.logits.argmax(-1))


def assert_steps_close(ours: Step, reference: Step, slots: int, tolerance: float) -> None:
    """Compare every output; of the caches the first ``slots``."""
    assert_close(ours.logits, reference.logits, tolerance, "logits")
    assert_close(ours.hidden, reference.hidden, tolerance, "activations")
    assert_caches_close(ours.caches, reference.caches, slots, tolerance)


def test_rejected_drafts_leave_no_trace(litert: LiteRt, text: Text) -> None:
    """After a verify whose last drafts are rejected, decoding goes on in the slots they used."""
    start, accepted = LENGTH, 1
    before = text.committed(start)
    right = text.tokens[start : start + DRAFT_LENGTH + 1]
    drafted = right.clone()
    drafted[accepted + 1 :] = (drafted[accepted + 1 :] + 1) % pair_files.VOCABULARY
    caches = litert.step(text.eager, drafted, start, before).caches
    for i in range(accepted + 1, DRAFT_LENGTH + 1):
        step = litert.step(text.eager, right[i : i + 1], start + i, caches)
        caches = step.caches
    expected = text.eager.forward(right, start, before)
    assert_close(step.logits[0, -1], expected.logits[0, -1], TOLERANCE)
    assert_caches_close(caches, expected.caches, start + DRAFT_LENGTH + 1, TOLERANCE)


def test_window_of_the_target(litert: LiteRt, text: Text) -> None:
    """A sliding layer sees ``window`` slots, its own included; one further back is not seen."""
    token = text.tokens[LENGTH : LENGTH + 1]
    oldest = LENGTH - pair_files.WINDOW + 1

    def logits(slot: int | None) -> Tensor:
        changed = disturbed(text, slot)
        return litert.step(text.eager, token, LENGTH, changed).logits

    assert torch.equal(logits(oldest - 1), logits(None))
    assert error(logits(oldest), logits(None)) > 100 * TOLERANCE


def test_window_of_the_drafter(litert: LiteRt, text: Text) -> None:
    """Its sliding layers see one slot more: their query stands at the pending token."""
    oldest = LENGTH - 1 - pair_files.WINDOW
    token, state = text.tokens[LENGTH], text.step.hidden[0, -1]

    def projected(slot: int | None) -> Tensor:
        outputs = litert.draft(text.eager, token, state, LENGTH, disturbed(text, slot))
        return outputs[names.PROJECTED_ACTIVATIONS]

    assert torch.equal(projected(oldest - 1), projected(None))
    assert error(projected(oldest), projected(None)) > 100 * TOLERANCE


def disturbed(text: Text, slot: int | None) -> Caches:
    """The caches of the text, with other values in one slot of the last sliding layer's."""
    caches = dict(text.step.caches)
    if slot is not None:
        layer = text.eager.target.config.kv_donor(AttentionKind.SLIDING).index
        values = caches[layer].values.clone()
        values[..., slot] += 10.0
        caches[layer] = Kv(caches[layer].keys, values)
    return caches


@pytest.mark.parametrize("committed", [1, 30, 65, LENGTH])
def test_drafter(litert: LiteRt, text: Text, shape: str, committed: int) -> None:
    """A whole draft, each side going on from its own states and tokens."""
    step = text.eager.forward(text.tokens[:committed], 0, text.eager.empty_caches(STALE))
    token, state = text.tokens[committed], step.hidden[0, -1]
    reference_token, reference_state = token, state
    for _ in range(DRAFT_LENGTH):
        ours = litert.draft(text.eager, token, state, committed, step.caches)
        reference = text.eager.draft(
            HEADS[shape], reference_token, reference_state, committed, step.caches
        )
        assert_drafts_close(ours[names.LOGITS], reference.logits, TOLERANCE)
        assert_close(ours[names.PROJECTED_ACTIVATIONS], reference.projected, TOLERANCE)
        token, state = ours[names.LOGITS].argmax(), ours[names.PROJECTED_ACTIVATIONS]
        reference_token, reference_state = reference.logits.argmax(), reference.projected
        assert token == reference_token


def assert_drafts_close(ours: Tensor, reference: Tensor, tolerance: float) -> None:
    """Logits of the tokens that the head scores; the others are at the floor on both sides."""
    scored = reference > FLOOR_LOGIT
    assert torch.equal(ours > FLOOR_LOGIT, scored)
    assert_close(ours[scored], reference[scored], tolerance, "draft logits")
    assert (ours[~scored] == FLOOR_LOGIT).all()
