"""The lowered and bound graphs, run by LiteRT, against our torch modules run eagerly.

The second rung of the ladder: ``test_model`` has compared those modules with transformers. Every
signature runs here with the pairs of ``tests.pairs``, which have random weights.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from torch import Tensor, nn

from exporter import contract
from exporter.bind import StoredWeight, bind, choose_storage
from exporter.checkpoint import TensorReader, open_checkpoint
from exporter.config import AttentionKind
from exporter.contract import Contract, Dtype, Section, SignatureSpec
from exporter.graph_reader import CONSTANT_THRESHOLD, GraphReader
from exporter.heads import HeadKind
from exporter.inspection import broken_promises
from exporter.lower import LoweringRequest
from exporter.model.decoder import DecoderLayer
from exporter.model.drafter import FLOOR_LOGIT
from exporter.model.kv import Kv
from exporter.model.target import Caches, Step
from exporter.parameters import parameter_specs
from exporter.pipeline import ExportOptions, Pair, find_graphs, make_contract
from exporter.progress import SilentReporter
from exporter.weights import Weight, find_weights
from quantize.arrays import dequantize_rows, quantize_rows
from quantize.recipe import RECIPES, Recipe, Storage
from tests import pairs as pair_files
from tests.eager import CACHE_LENGTH, Eager

TOLERANCE = 1e-4
"""Of each output's largest magnitude. Both sides are float32 and sum in another order: measured
errors are up to 6e-6, any wrong term is above 1e-3."""

SAME_GRAPH_TOLERANCE = 1e-5
"""LiteRT against itself with another number of tokens a call: other tiles, another order of sums."""

WHOLE_STACK_ERROR = 0.08
"""Of each output's largest magnitude: LiteRT with quantised weights against torch with the float
values they stand for.

What differs is that LiteRT rounds activations to 8 bits before each matrix. A step is a 255th of a
row's range, about 5 standard deviations here, so each product is off by 0.6 % of its spread; over 8
layers of 4 products in a row that adds up to 3 %. Measured: up to 4 %. (Rounding the weights to int4
moves this pair's logits by 30 to 80 %: other codes or scales would be seen.)
"""

PREFILLS = (16, 48)
DRAFTS = 3
HEADS = {"e2b": HeadKind.CENTROID, "e4b": HeadKind.FULL}
"""One of each kind, so that both are run without lowering more than two pairs."""

LENGTH = 150
"""Of the text: well beyond the window."""

STALE = 37.0
"""Left in slots that no mask shows; any leak of it would dwarf the tolerance."""

OTHER_CONSTANTS = 16 * 1024
"""Bytes of constants that a signature may have besides weights: slot numbers and the like."""

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Bound:
    """The graphs of one pair with its weights, as files, and what was stored in them."""

    contract: Contract
    weights: dict[Section, dict[str, Weight]]
    folder: Path
    stored: dict[str, dict[Section, list[StoredWeight]]]

    def file(self, recipe: str, section: Section) -> Path:
        return self.folder / f"{recipe}-{section.value}"


class LiteRt:
    """Runs signatures as an engine does: buffers are made once, inputs copied in, outputs out."""

    def __init__(self, bound: Bound, recipe: str) -> None:
        self.contract = bound.contract
        self.signatures = bound.contract.section_signatures()
        self.models = {
            section: CompiledModel.from_file(
                str(bound.file(recipe, section)), HardwareAccelerator.CPU
            )
            for section in self.signatures
        }

    def run(self, section: Section, signature: str, inputs: Tensors) -> Tensors:
        """Outputs of one call; ``inputs`` must be exactly what the contract lists."""
        spec, model = self.signatures[section][signature], self.models[section]
        assert inputs.keys() == spec.inputs.keys()
        given, made = {}, {}
        for name, wanted in spec.inputs.items():
            array = inputs[name].numpy()
            assert array.shape == wanted.shape, name
            assert array.dtype == wanted.dtype.value, name
            given[name] = model.create_input_buffer_by_name(signature, name)
            given[name].write(np.ascontiguousarray(array))
        for name in spec.outputs:
            made[name] = model.create_output_buffer_by_name(signature, name)
        model.run_by_name(signature, given, made)
        outputs = {name: _read(made[name], spec, name) for name in made}
        for buffer in (*given.values(), *made.values()):
            buffer.destroy()
        return outputs

    def target(self, signature: str, inputs: Sequence[Tensor], caches: Caches) -> Tensors:
        """One signature of the target; ``inputs`` as ``Eager.inputs`` gives them."""
        names = (
            contract.EMBEDDINGS,
            contract.PER_LAYER_EMBEDDINGS,
            contract.INPUT_POS,
            contract.MASK,
        )
        named = {**dict(zip(names, inputs, strict=True)), **named_caches(caches)}
        return self.run(Section.PREFILL_DECODE, signature, named)

    def step(self, eager: Eager, tokens: Tensor, start: int, caches: Caches) -> Step:
        """``decode`` or ``verify``, by the number of tokens."""
        signature = contract.DECODE if len(tokens) == 1 else contract.VERIFY
        outputs = self.target(signature, eager.inputs(tokens, start), caches)
        logits, hidden = outputs[contract.LOGITS], outputs[contract.ACTIVATIONS]
        return Step(caches_of(outputs, self.contract), logits, hidden)

    def prefill(self, eager: Eager, tokens: Tensor, start: int, caches: Caches) -> Caches:
        """Some tokens through the shortest prefill that holds them, padded as the engine pads."""
        length = min(n for n in PREFILLS if n >= len(tokens))
        inputs = padded(eager.inputs(tokens, start), length)
        outputs = self.target(f"{contract.PREFILL_PREFIX}{length}", inputs, caches)
        return caches_of(outputs, self.contract)

    def draft(
        self, eager: Eager, token: Tensor, state: Tensor, committed: int, caches: Caches
    ) -> Tensors:
        """One step of the drafter, as ``Eager.draft``."""
        embedded = eager.embedder(token.reshape(1, 1))
        donors = {layer: caches[layer] for layer in self.contract.drafter_donors}
        inputs = {
            contract.ACTIVATIONS: torch.cat([embedded, state.reshape(1, 1, -1)], -1),
            contract.INPUT_POS: torch.tensor([committed - 1], dtype=torch.int32),
            contract.MASK: (torch.arange(CACHE_LENGTH) < committed).reshape(1, 1, 1, -1),
            **named_caches(donors),
        }
        return self.run(Section.MTP_DRAFTER, contract.DRAFT, inputs)


def _read(buffer: object, spec: SignatureSpec, name: str) -> Tensor:
    wanted = spec.outputs[name]
    assert wanted.dtype is Dtype.FLOAT32
    count = int(np.prod(wanted.shape))
    return torch.from_numpy(buffer.read(count, np.float32)).reshape(wanted.shape)  # type: ignore[attr-defined]


def named_caches(caches: Caches) -> Tensors:
    return {
        name: tensor
        for layer, kv in sorted(caches.items())
        for name, tensor in (
            (contract.key_cache(layer), kv.keys),
            (contract.value_cache(layer), kv.values),
        )
    }


def caches_of(outputs: Tensors, agreed: Contract) -> Caches:
    return {
        cache.layer: Kv(
            outputs[contract.key_cache(cache.layer)], outputs[contract.value_cache(cache.layer)]
        )
        for cache in agreed.kv_caches
    }


def padded(inputs: Sequence[Tensor], length: int) -> list[Tensor]:
    """Inputs of a prefill with padding behind: position 0, nothing visible, any embedding."""
    embeddings, per_layer, positions, mask = inputs
    more = length - len(positions)
    return [
        nn.functional.pad(embeddings, (0, 0, 0, more), value=STALE),
        nn.functional.pad(per_layer, (0, 0, 0, 0, 0, more), value=STALE),
        nn.functional.pad(positions, (0, more)),
        nn.functional.pad(mask, (0, 0, 0, more)),
    ]


def first_slots(caches: Caches, count: int) -> Tensors:
    """The first slots of every cache."""
    used = {i: Kv(kv.keys[:, :, :count], kv.values[..., :count]) for i, kv in caches.items()}
    return named_caches(used)


def error(ours: Tensor, reference: Tensor) -> float:
    """Largest difference by the reference's largest magnitude."""
    assert ours.shape == reference.shape
    return float((ours - reference).abs().max() / reference.abs().max())


def assert_close(ours: Tensor, reference: Tensor, tolerance: float, what: str = "") -> None:
    found = error(ours, reference)
    assert found <= tolerance, f"{what} relative error {found:.2e}, tolerance {tolerance:.0e}"


def assert_caches_close(ours: Caches, reference: Caches, count: int, tolerance: float) -> None:
    """Compare the first ``count`` slots of every cache."""
    expected = first_slots(reference, count)
    for name, tensor in first_slots(ours, count).items():
        assert_close(tensor, expected[name], tolerance, name)


def assert_untouched(caches: Caches, before: Caches, start: int, stop: int) -> None:
    """A call that wrote slots ``start`` to ``stop`` left all others as they were, bit for bit."""
    slots = torch.cat([torch.arange(start), torch.arange(stop, CACHE_LENGTH)])
    for layer, kv in caches.items():
        assert torch.equal(kv.keys[:, :, slots], before[layer].keys[:, :, slots])
        assert torch.equal(kv.values[..., slots], before[layer].values[..., slots])


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    """No gradients; one thread, because the models are too small to share out."""
    torch.set_num_threads(1)
    with torch.no_grad():
        yield


@pytest.fixture(scope="session")
def bounds(
    pairs: dict[str, pair_files.Pair], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Bound]]:
    """Both pairs, lowered (or known) and bound with every recipe."""
    with TensorReader() as reader:
        yield {
            shape: bind_pair(pair, HEADS[shape], tmp_path_factory.mktemp(f"litert-{shape}"), reader)
            for shape, pair in pairs.items()
        }


def bind_pair(pair: pair_files.Pair, head: HeadKind, folder: Path, reader: TensorReader) -> Bound:
    """What ``export`` does, without packing a bundle."""
    target, drafter = open_checkpoint(pair.target), open_checkpoint(pair.drafter)
    parsed = Pair.of(target, drafter)
    options = ExportOptions(RECIPES["float32"], CACHE_LENGTH, PREFILLS, DRAFTS)
    agreed = make_contract(parsed.target_config, parsed.drafter_config, options)
    request = LoweringRequest(parsed.target_config, parsed.drafter_config, head, agreed)
    graphs = find_graphs(request, options, SilentReporter()).sections
    specs = parameter_specs(parsed.target_config, parsed.drafter_config, head)
    weights = find_weights(specs, target, drafter, reader)
    bound = Bound(agreed, weights, folder, {})
    for name, recipe in RECIPES.items():
        bound.stored[name] = {}
        for section, graph in graphs.items():
            with bound.file(name, section).open("wb") as stream:
                bound.stored[name][section] = bind(graph, weights[section], recipe, stream)
    return bound


@pytest.fixture
def bound(bounds: dict[str, Bound], shape: str) -> Bound:
    return bounds[shape]


@pytest.fixture(scope="session")
def runners(bounds: dict[str, Bound]) -> dict[str, LiteRt]:
    """The float32 graphs, loaded."""
    return {shape: LiteRt(bound, "float32") for shape, bound in bounds.items()}


@pytest.fixture
def litert(runners: dict[str, LiteRt], shape: str) -> LiteRt:
    return runners[shape]


@dataclass(frozen=True)
class Text:
    """A random text and what torch computes for all of it in one pass."""

    eager: Eager
    tokens: Tensor  # [CACHE_LENGTH]

    @cached_property
    def step(self) -> Step:
        return self.eager.forward(self.tokens[:LENGTH], 0, self.eager.empty_caches(STALE))

    def committed(self, count: int) -> Caches:
        """Caches with the text's first ``count`` tokens, made by torch."""
        empty = self.eager.empty_caches(STALE)
        return self.eager.prefill(self.tokens[:count], 0, empty) if count else empty


@pytest.fixture(scope="session")
def texts(eagers: dict[str, Eager]) -> dict[str, Text]:
    """One text per pair."""
    source = torch.Generator().manual_seed(5)
    tokens = torch.randint(pair_files.VOCABULARY, (CACHE_LENGTH,), generator=source)
    return {shape: Text(eager, tokens) for shape, eager in eagers.items()}


@pytest.fixture
def text(texts: dict[str, Text], shape: str) -> Text:
    return texts[shape]


# --- structure -----------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_signatures_keep_the_contract(bound: Bound, recipe: str) -> None:
    models = {
        section.value: GraphReader(bound.file(recipe, section).read_bytes(), "").signatures()
        for section in bound.contract.section_signatures()
    }
    assert broken_promises(bound.contract, models) == []
    wanted = {s.value: set(names) for s, names in bound.contract.section_signatures().items()}
    assert {name: set(signatures) for name, signatures in models.items()} == wanted


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_signatures_share_one_copy_of_each_weight(bound: Bound, recipe: str) -> None:
    """Four signatures use the target's weights; each is in the file once, in its recipe's type."""
    for section, weights in bound.weights.items():
        content = bound.file(recipe, section).read_bytes()
        constants = GraphReader(content, "").constants()
        expected = {weight.name: storage_of(weight, RECIPES[recipe]) for weight in weights.values()}
        found = {c.name: c.dtype for c in constants if c.name in expected}
        assert max(Counter(c.name for c in constants if c.name in expected).values()) == 1
        stored = {s.name: s.nbytes for s in bound.stored[recipe][section]}
        assert stored.keys() == expected.keys()
        large = [name for name, nbytes in stored.items() if nbytes >= CONSTANT_THRESHOLD]
        assert found == {name: expected[name] for name in large}
        others = sum(c.nbytes for c in constants if c.name not in expected)
        assert others <= OTHER_CONSTANTS * len(bound.contract.section_signatures()[section])


def storage_of(weight: Weight, recipe: Recipe) -> str:
    storage = choose_storage(weight, recipe)
    return weight.spec.dtype.value if storage is None else storage.value


# --- float32: every signature against torch ------------------------------------------------------


@pytest.mark.parametrize("token", [0, 1, 777, pair_files.VOCABULARY - 1])
def test_embedders(litert: LiteRt, eager: Eager, token: int) -> None:
    ids = torch.tensor([[token]], dtype=torch.int32)
    inputs = {contract.TOKEN_IDS: ids}
    embedded = litert.run(Section.EMBEDDER, contract.EMBED, inputs)
    assert_close(embedded[contract.EMBEDDINGS], eager.embedder(ids), TOLERANCE)
    per_layer = litert.run(Section.PER_LAYER_EMBEDDER, contract.EMBED_PER_LAYER, inputs)
    assert_close(per_layer[contract.PER_LAYER_EMBEDDINGS], eager.per_layer_embedder(ids), TOLERANCE)


@pytest.mark.parametrize("tokens", PREFILLS)
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
        (48, 48, 48, 6),
        (16,) * 9 + (6,),
        (1, 48, 16, 48, 37),
        (20, 5, 48, 47, 30),
        (48, 16, 48, 16, 16, 6),
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
    """The last chunk begins at slot 230 of 256 and its signature has 48: good slots must stay."""
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


@pytest.mark.parametrize("start", [1, 62, 64, LENGTH, CACHE_LENGTH - DRAFTS - 1])
def test_verify(litert: LiteRt, text: Text, start: int) -> None:
    """The pending token and its drafts: as torch, and as LiteRT decodes them one by one."""
    before = text.committed(start)
    tokens = text.tokens[start : start + DRAFTS + 1]
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
    right = text.tokens[start : start + DRAFTS + 1]
    drafted = right.clone()
    drafted[accepted + 1 :] = (drafted[accepted + 1 :] + 1) % pair_files.VOCABULARY
    caches = litert.step(text.eager, drafted, start, before).caches
    for i in range(accepted + 1, DRAFTS + 1):
        step = litert.step(text.eager, right[i : i + 1], start + i, caches)
        caches = step.caches
    expected = text.eager.forward(right, start, before)
    assert_close(step.logits[0, -1], expected.logits[0, -1], TOLERANCE)
    assert_caches_close(caches, expected.caches, start + DRAFTS + 1, TOLERANCE)


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
        return outputs[contract.PROJECTED_ACTIVATIONS]

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
    for _ in range(DRAFTS):
        ours = litert.draft(text.eager, token, state, committed, step.caches)
        reference = text.eager.draft(
            HEADS[shape], reference_token, reference_state, committed, step.caches
        )
        assert_drafts_close(ours[contract.LOGITS], reference.logits, TOLERANCE)
        assert_close(ours[contract.PROJECTED_ACTIVATIONS], reference.projected, TOLERANCE)
        token, state = ours[contract.LOGITS].argmax(), ours[contract.PROJECTED_ACTIVATIONS]
        reference_token, reference_state = reference.logits.argmax(), reference.projected
        assert token == reference_token


def assert_drafts_close(ours: Tensor, reference: Tensor, tolerance: float) -> None:
    """Logits of the tokens that the head scores; the others are at the floor on both sides."""
    scored = reference > FLOOR_LOGIT
    assert torch.equal(ours > FLOOR_LOGIT, scored)
    assert_close(ours[scored], reference[scored], tolerance, "draft logits")
    assert (ours[~scored] == FLOOR_LOGIT).all()


# --- quantised -----------------------------------------------------------------------------------

QUANTISED = [name for name in RECIPES if name != "float32"]


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
def round_weights(model: nn.Module, weights: dict[str, Weight], recipe: Recipe) -> None:
    for name, parameter in model.named_parameters():
        storage = choose_storage(weights[name], recipe)
        if storage in (Storage.INT8, Storage.INT4):
            rounded = dequantize_rows(*quantize_rows(parameter.numpy(), storage))
            assert not np.array_equal(rounded, parameter.numpy())
            parameter.copy_(torch.from_numpy(rounded))


def test_quantised_tables_are_exact(quantised: Quantised) -> None:
    """A lookup multiplies codes by their scale; there is nothing to round."""
    for token in (0, 5, pair_files.VOCABULARY - 1):
        ids = torch.tensor([[token]], dtype=torch.int32)
        inputs = {contract.TOKEN_IDS: ids}
        embedded = quantised.litert.run(Section.EMBEDDER, contract.EMBED, inputs)
        reference = quantised.eager.embedder(ids)
        assert_close(embedded[contract.EMBEDDINGS], reference, SAME_GRAPH_TOLERANCE)
        per_layer = quantised.litert.run(
            Section.PER_LAYER_EMBEDDER, contract.EMBED_PER_LAYER, inputs
        )
        reference = quantised.eager.per_layer_embedder(ids)
        assert_close(per_layer[contract.PER_LAYER_EMBEDDINGS], reference, SAME_GRAPH_TOLERANCE)


def test_quantised_products_use_the_stored_weights(quantised: Quantised) -> None:
    """One-hot activations survive 8 bits, so products are columns of W, without any rounding.

    Layer 0's values are such a product and a norm; each token of a verify picks another column.
    """
    eager, columns = quantised.eager, torch.tensor([0, 3, 64, 127])
    tokens = torch.zeros(DRAFTS + 1, dtype=torch.int64)
    _, *others = eager.inputs(tokens, 0)
    one_hot = nn.functional.one_hot(columns, eager.target.config.text.hidden_size).float()[None]
    caches = eager.empty_caches(STALE)
    outputs = quantised.litert.target(contract.VERIFY, [one_hot, *others], caches)
    layer = first_layer(eager)
    stored = layer.self_attn.v_proj.weight[:, columns]  # [D, T]
    assert layer.input_layernorm.weight is not None
    signs = layer.input_layernorm.weight.reshape(-1)[columns].sign()
    expected = stored * signs / stored.square().mean(0).sqrt()
    values = outputs[contract.value_cache(0)][0, 0, :, : DRAFTS + 1]
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
    tokens, eager = texts["e2b"].tokens[: DRAFTS + 1], quantised.eager
    step = quantised.litert.step(eager, tokens, 0, eager.empty_caches())
    layer = first_layer(eager)
    activations = layer.input_layernorm(eager.inputs(tokens, 0)[0])[0]  # [T, H]
    spread = activations.amax(-1).clamp(min=0) - activations.amin(-1).clamp(max=0)
    weight = layer.self_attn.v_proj.weight
    product = activations @ weight.T  # [T, D]
    bound = spread[:, None] / 255 / 2 * weight.abs().sum(-1)  # [T, D]
    rms = product.square().mean(-1, keepdim=True).sqrt()
    share = product.abs() * bound.norm(dim=-1, keepdim=True) / product.norm(dim=-1, keepdim=True)
    off = (step.caches[0].values[0, 0, :, : DRAFTS + 1].T - product / rms).abs()
    assert (off <= 1.05 * (bound + share) / rms).all()
    assert off.max() > 0, "activations are not rounded: this is not the 8-bit kernel"


@pytest.mark.parametrize("signature", [contract.DECODE, contract.VERIFY])
def test_quantised_step(quantised: Quantised, texts: dict[str, Text], signature: str) -> None:
    tokens, eager = texts["e2b"].tokens, quantised.eager
    before = eager.prefill(tokens[:LENGTH], 0, eager.empty_caches(STALE))
    count = 1 if signature == contract.DECODE else DRAFTS + 1
    chunk = tokens[LENGTH : LENGTH + count]
    ours = quantised.litert.step(eager, chunk, LENGTH, before)
    reference = eager.forward(chunk, LENGTH, before)
    assert_close(ours.logits, reference.logits, WHOLE_STACK_ERROR, "logits")
    assert_close(ours.hidden, reference.hidden, WHOLE_STACK_ERROR, "activations")
    assert_caches_close(ours.caches, reference.caches, LENGTH + count, WHOLE_STACK_ERROR)


def test_quantised_prefill(quantised: Quantised, texts: dict[str, Text]) -> None:
    tokens, eager = texts["e2b"].tokens[:LENGTH], quantised.eager
    caches = eager.empty_caches(STALE)
    for start in range(0, LENGTH, PREFILLS[-1]):
        chunk = tokens[start : start + PREFILLS[-1]]
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
        ours[contract.PROJECTED_ACTIVATIONS], reference.projected, WHOLE_STACK_ERROR, "projected"
    )
    scored = reference.logits > FLOOR_LOGIT
    both = scored & (ours[contract.LOGITS] > FLOOR_LOGIT)
    assert both.sum() > 0.7 * scored.sum()
    assert_close(
        ours[contract.LOGITS][both], reference.logits[both], WHOLE_STACK_ERROR, "draft logits"
    )
