"""The length of the caches, chosen when a bundle is loaded: in both runtimes, and up to its end."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from exporter.bundle.graph_reader import GraphReader
from exporter.bundle.inspection import inspect_bundle
from exporter.bundle.reader import open_bundle
from exporter.contract.caches import is_prime, stated
from exporter.contract.names import Section
from exporter.contract.text import Contract
from exporter.errors import BundleError, ConfigError
from runtime_py.chat.conversation import Conversation
from runtime_py.chat.tokenizer import Tokenizer
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.litert.hardware import Hardware
from runtime_py.litert.resized_graph import Resizing
from runtime_py.opened_model import open_model
from runtime_py.reference_run import RunSettings, run_reference
from runtime_py.reply import Reply
from runtime_py.same_text import ReplyLimits, same_text
from tests.bundles import DRAFT_LENGTH, export_tiny, held_out_prompts

PROMPTS = 6
MAX_NEW_TOKENS = 48
LENGTHS = (192, 1024, 1088, 1501, 2052)
"""The least that these graphs can have; the most without the longer prefill, and the least with it; any; and
the most (above the default)."""
ALLOWED = "192 to 1024 or 1088 to 2052"


@pytest.fixture(scope="module")
def bundle(tiny_bundles: dict[str, Path]) -> Path:
    return tiny_bundles["float32"]


@pytest.fixture(scope="module")
def agreed(bundle: Path) -> Contract:
    found = inspect_bundle(bundle).contract
    assert found is not None
    return found


@pytest.fixture(scope="module")
def asked() -> list[Conversation]:
    return [Conversation.asking(prompt) for prompt in held_out_prompts(PROMPTS)]


@pytest.fixture(scope="module")
def expected(bundle: Path, asked: list[Conversation]) -> tuple[str, ...]:
    """Answers with the bundle's own choice of length."""
    return tuple(run_engine(engine(bundle, mtp=False), asked).texts)


def engine(bundle: Path, *, mtp: bool, slots: int | None = None, new: int = 48) -> EngineSettings:
    return EngineSettings(bundle, mtp, new, threads=2, max_num_tokens=slots)


def test_the_limits_are_those_of_the_graphs(agreed: Contract) -> None:
    assert agreed.cache_lengths == (range(192, 1025), range(1088, 2053))
    assert stated(agreed.cache_lengths) == ALLOWED
    assert (agreed.shortest_cache, agreed.longest_cache) == (1088, LENGTHS[-1])
    assert agreed.resized(1024).prefill_lengths == (128,)
    assert agreed.resized(1088).prefill_lengths == (128, 1024)
    assert agreed.placeholder is not None
    assert is_prime(agreed.placeholder)
    assert agreed.cache_length == 2048


@pytest.mark.parametrize("slots", LENGTHS)
@pytest.mark.parametrize("mtp", [False, True], ids=["off", "on"])
def test_the_engine_takes_the_length(
    bundle: Path, asked: list[Conversation], expected: tuple[str, ...], slots: int, mtp: bool
) -> None:
    run = run_engine(engine(bundle, mtp=mtp, slots=slots), asked)
    assert all(
        same_text(Reply(text, 1, 1.0, MAX_NEW_TOKENS, 1.0, 0.0, 1), reply, _limits(slots))
        for text, (reply,) in zip(expected, run.replies, strict=True)
    )


@pytest.mark.parametrize("slots", LENGTHS)
def test_the_reference_runtime_takes_the_length(
    bundle: Path, asked: list[Conversation], expected: tuple[str, ...], slots: int
) -> None:
    before = bundle.read_bytes()
    with open_model(bundle, Hardware(threads=2), cache_length=slots) as model:
        assert model.executor.cache_length == slots
        for drafts in (0, DRAFT_LENGTH):
            settings = RunSettings(drafts, MAX_NEW_TOKENS)
            assert tuple(run_reference(model, settings, asked).texts) == expected
    assert bundle.read_bytes() == before


@pytest.mark.parametrize("mtp", [False, True], ids=["off", "on"])
@pytest.mark.parametrize("slots", [1024, 1088])
def test_up_to_the_end_of_the_chosen_length(
    bundle: Path, agreed: Contract, slots: int, mtp: bool
) -> None:
    """The answer runs into the end, and up to there it is that of a longer cache."""
    prompt = long_prompt(bundle, agreed)
    short, long = (
        run_engine(engine(bundle, mtp=mtp, slots=length, new=200), [Conversation((prompt,))])
        for length in (slots, agreed.longest_cache)
    )
    (reply,), (other,) = short.replies[0], long.replies[0]
    assert reply.context_tokens >= slots - DRAFT_LENGTH - 2
    assert reply.text
    kept = reply.text[: -2 * DRAFT_LENGTH]  # the last draft may end in half a word
    assert other.text.startswith(kept)


def long_prompt(bundle: Path, agreed: Contract) -> str:
    """Somewhat shorter than the longest prefill: the engine wants the padding to fit."""
    (sentence,), longest = held_out_prompts(1), agreed.prefill_lengths[-1]
    tokens = len(Tokenizer(open_bundle(bundle)).encode(sentence))
    return " ".join([sentence] * ((longest - 24) // tokens))


@pytest.mark.parametrize("drafts", [0, DRAFT_LENGTH])
def test_a_long_prompt_without_the_longer_prefill(
    bundle: Path, agreed: Contract, drafts: int
) -> None:
    """In the reference runtime; what it says in 1024 slots is what it says in many."""
    asked = [Conversation((long_prompt(bundle, agreed),))]
    texts = []
    for slots in (1024, agreed.longest_cache):
        with open_model(bundle, Hardware(threads=2), cache_length=slots) as model:
            texts.append(run_reference(model, RunSettings(drafts, 12), asked).texts[0])
    assert texts[0] == texts[1] != ""


@pytest.mark.parametrize(
    ("prefills", "window", "expected"),
    [
        ((128, 1024), 512, "640 to 1024 or 1536 to 2052"),  # E2B and E4B, but for the most
        ((128,), 512, "640 to 2052"),
        ((1024,), 512, "1536 to 2052"),
        ((32, 128, 1024), 64, "96 to 128 or 192 to 1024 or 1088 to 2052"),
        ((16, 32), 512, "544 to 2052"),  # the first prefill alone needs more than 32
        ((128, 1024), 0, "128 to 2052"),  # another tool's bundle, whose window is unknown
    ],
)
def test_lengths_of_other_graphs(
    agreed: Contract, prefills: tuple[int, ...], window: int, expected: str
) -> None:
    other = dataclasses.replace(agreed, prefill_lengths=prefills, sliding_window=window)
    assert stated(other.cache_lengths) == expected


@pytest.mark.parametrize("slots", [191, 1025, 1087, 2053])
def test_other_lengths_are_refused(bundle: Path, slots: int) -> None:
    with (
        pytest.raises(BundleError, match=f"{slots} slots; this bundle allows {ALLOWED}"),
        open_model(bundle, cache_length=slots),
    ):
        pass


def test_a_fixed_length_is_not_chosen(short_bundle: Path) -> None:
    with (
        pytest.raises(BundleError, match="a cache of 1024 slots; this bundle allows 512, fixed"),
        open_model(short_bundle, cache_length=1024),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cache_length": 499, "fixed_cache_length": True, "prefill_lengths": (8,)}, "a prime"),
        ({"cache_length": 512, "prefill_lengths": (512,)}, "need 576 slots"),
    ],
)
def test_lengths_that_cannot_be(options: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        export_tiny(tmp_path / "x.litertlm", "int8", **options)  # type: ignore[arg-type]


def test_nothing_but_sizes_is_resized(bundle: Path, agreed: Contract) -> None:
    """Every signature comes out as the contract has it for the new length; weights are untouched."""
    opened, slots = open_bundle(bundle), 1200
    section = opened.model(Section.PREFILL_DECODE)
    assert section is not None
    assert agreed.placeholder is not None
    graph = bytearray(opened.read(section))
    weights = bytes(graph[section.graph_bytes :])
    changed = Resizing(agreed.placeholder, slots).apply(memoryview(graph)[: section.graph_bytes])
    assert changed > 0
    assert graph[section.graph_bytes :] == weights
    found = GraphReader(memoryview(graph), "resized").signatures()
    resized = dataclasses.replace(agreed, cache_length=slots)
    for name, spec in resized.target_signatures().items():
        shapes = {key: tensor.shape for key, tensor in found[name].inputs.items()}
        assert shapes == {key: tensor.shape for key, tensor in spec.inputs.items()}


def _limits(slots: int) -> ReplyLimits:
    return ReplyLimits(MAX_NEW_TOKENS, slots, DRAFT_LENGTH)
