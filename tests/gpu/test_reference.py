"""The reference runtime on the GPU against itself on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from exporter.contract.names import Accelerator, Section
from exporter.errors import BundleError
from exporter.verify.compare import Floats, margin
from exporter.verify.text_fit import log_softmax
from runtime_py.chat.conversation import Conversation
from runtime_py.litert.executor import LitertExecutor
from runtime_py.litert.gpu.graph import GpuGraph
from runtime_py.litert.graph import LitertCache
from runtime_py.litert.hardware import Hardware
from runtime_py.opened_model import OpenedModel, open_model
from runtime_py.reference_run import RunSettings, run_reference
from tests.bundles import DRAFT_LENGTH, held_out_prompts
from tests.gpu.operations import fully_accelerated

PROMPTS, NEW_TOKENS = 5, 24

LONG = 120
"""Tokens of a text that passes the window of 64."""

GPU, HALF = Hardware(Accelerator.GPU), Hardware(Accelerator.GPU, float16=True)

LEAST_AGREEMENT, MOST_DIVERGENCE = 0.98, 1e-3
"""Of float16 with float32: share of equal first choices, and mean KL divergence in nats. Measured on
SwiftShader: 1.0 and below 1e-5; a position that float16 garbles would cost more than a nat."""

NEAR_TIE = 0.1
"""Margin in logits below which float16 may choose the other; its logits are off by up to 0.05."""


@pytest.fixture(scope="module")
def bundle(gpu_bundles: dict[str, Path]) -> Path:
    return gpu_bundles["float32"]


@pytest.fixture(scope="module")
def on_gpu(bundle: Path) -> Iterator[OpenedModel]:
    with open_model(bundle, GPU) as model:
        yield model


def test_every_node_is_delegated(on_gpu: OpenedModel) -> None:
    graphs = on_gpu.executor.graphs
    for section in (Section.PREFILL_DECODE, Section.MTP_DRAFTER):
        graph = graphs[section]
        assert isinstance(graph, GpuGraph)
        assert fully_accelerated(graph.model)


@pytest.mark.parametrize("drafts", [0, DRAFT_LENGTH])
def test_the_tokens_are_those_of_the_cpu(
    on_gpu: OpenedModel, bundle: Path, short_bundle: Path, drafts: int
) -> None:
    """Of the graphs for the CPU, and of the same graphs where their decompositions run."""
    settings = RunSettings(drafts, NEW_TOKENS)
    conversations = [Conversation.asking(prompt) for prompt in held_out_prompts(PROMPTS)]
    texts = run_reference(on_gpu, settings, conversations).texts
    for path in (short_bundle, bundle):
        with open_model(path) as on_cpu:
            assert run_reference(on_cpu, settings, conversations).texts == texts


def test_a_stale_bank_would_change_the_text(on_gpu: OpenedModel) -> None:
    """Two banks that take turns, as where ``param_tensor`` is missing: each lacks every other token."""
    executor = on_gpu.executor
    prompt = on_gpu.tokenizer.encode_prompt(held_out_prompts(1)[0])
    right = _continue(executor, [executor.new_cache()], prompt)
    assert _continue(executor, [executor.new_cache()], prompt) == right
    assert _continue(executor, [executor.new_cache(), executor.new_cache()], prompt) != right


def test_what_another_text_left_behind_is_not_seen(on_gpu: OpenedModel) -> None:
    executor = on_gpu.executor
    first, second = (on_gpu.tokenizer.encode_prompt(text) for text in held_out_prompts(2))
    used = executor.new_cache()
    _continue(executor, [used], [*first, *first, *first])
    assert _continue(executor, [used], second) == _continue(
        executor, [executor.new_cache()], second
    )


def test_float16(on_gpu: OpenedModel, bundle: Path) -> None:
    tokens = on_gpu.tokenizer.encode_prompt(" ".join(held_out_prompts(8)))[:LONG]
    assert len(tokens) == LONG
    full = _logits(on_gpu.executor, tokens)
    with open_model(bundle, HALF) as model:
        half = _logits(model.executor, tokens)
    ours, theirs = log_softmax(half), log_softmax(full)
    divergence = float((np.exp(theirs) * (theirs - ours)).sum(axis=1).mean())
    differing = np.flatnonzero(half.argmax(1) != full.argmax(1))
    agreement = 1 - len(differing) / len(tokens)
    print(f"float16: agreement {agreement:.4f}, KL {divergence:.2e}, near-ties {len(differing)}")
    assert agreement >= LEAST_AGREEMENT
    assert divergence <= MOST_DIVERGENCE
    assert all(margin(full[row]) <= NEAR_TIE for row in differing)


def test_a_bundle_for_the_cpu_is_refused(short_bundle: Path) -> None:
    with pytest.raises(BundleError, match="--accelerator gpu"), open_model(short_bundle, GPU):
        pass


def _continue(executor: LitertExecutor, banks: list[LitertCache], prompt: list[int]) -> list[int]:
    """Greedy tokens after a prompt; step by step through the banks in turn."""
    for bank in banks:
        executor.prefill(bank, prompt[:-1], 0)
    tokens = [prompt[-1]]
    for step in range(NEW_TOKENS):
        bank = banks[step % len(banks)]
        logits = executor.decode(bank, tokens[-1], len(prompt) - 1 + step).logits
        tokens.append(int(logits[0].argmax()))
    return tokens[1:]


def _logits(executor: LitertExecutor, tokens: list[int]) -> Floats:
    """Logits ``[T, V]`` of a text, through ``verify``."""
    cache, rows, stride = executor.new_cache(), [], executor.draft_length + 1
    for start in range(0, len(tokens), stride):
        step = executor.verify(cache, tokens[start : start + stride], start)
        rows.append(step.logits.copy())
    return np.concatenate(rows)
