"""All positions at once are the inference loop's drafts one by one, and none sees its future."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import Gemma4AssistantForCausalLM

from exporter.checkpoints.architecture import AttentionKind, HeadKind
from exporter.model.text.drafter import Drafter
from exporter.tune.chain import Batch, PaddedKv, grouped, hidden_states
from exporter.tune.drafter_weights import load_drafter
from exporter.tune.judge import choices
from tests.eager import Eager
from tests.tune.conftest import CPU, MakeRead, Read

ANSWERS, STEPS = 6, 4
CLOSE = 2e-4
"""Of numbers about 1: float32 sums in another order, twelve layers deep."""


@pytest.fixture(scope="module")
def read(read_random: MakeRead, tmp_path_factory: pytest.TempPathFactory) -> Read:
    return read_random(tmp_path_factory.mktemp("features"), ANSWERS)


@pytest.fixture(scope="module")
def drafter(read: Read) -> Drafter:
    assert read.pair.drafter_config is not None
    return load_drafter(read.pair.drafter_config, read.writer.weights, CPU)


@pytest.fixture(scope="module")
def batch(read: Read) -> Batch:
    ((_, found),) = read.source.batches(range(ANSWERS), STEPS, 10_000)
    return found


def test_drafts_are_the_loops(
    read: Read, drafter: Drafter, batch: Batch, eagers: dict[str, Eager]
) -> None:
    """Each position alone, with the caches of a decode, fed the same tokens: hidden state(t) with x(t+1)."""
    eager = eagers["e2b"]
    with torch.no_grad():
        states = list(hidden_states(drafter, batch, STEPS))
        said = [choices(drafter, state) for state in states]
        (order,) = grouped(read.source.file.answers, range(ANSWERS), 10_000)
        for row, index in enumerate(order):
            answer = read.source.file.answers[index]
            text = torch.tensor((*answer.prompt, *answer.tokens, *answer.tail))
            step = eager.forward(text, 0, eager.empty_caches())
            for start in (0, answer.starts // 2, answer.starts - 1):
                t = len(answer.prompt) - 1 + start
                state = step.hidden[0, t]
                for k in range(STEPS):
                    ours = drafter.post_projection(states[k][row, start])
                    drafts = {
                        head: eager.draft(head, text[t + 1 + k], state, t + 1, step.caches)
                        for head in HeadKind
                    }
                    state = drafts[HeadKind.FULL].projected[0, 0]
                    torch.testing.assert_close(ours, state, rtol=CLOSE, atol=CLOSE)
                    for which, head in enumerate((HeadKind.CENTROID, HeadKind.FULL)):
                        assert said[k][which][row, start] == drafts[head].logits.argmax()
                    if k < STEPS - 1:
                        assert batch.labels(k + 1)[row, start] == text[t + 2 + k]


def test_some_answers_pass_the_window(read: Read) -> None:
    assert read.pair.target_config.text.sliding_window < max(
        a.slots for a in read.source.file.answers
    )


def test_no_position_sees_its_future(drafter: Drafter, batch: Batch) -> None:
    """Values after t in the caches change nothing at or before it, bit for bit, and what comes later."""
    middle = batch.starts // 2
    slot = int(batch.committed[0, middle])
    changed = {
        kind: PaddedKv(_perturbed(kv.keys, slot), _perturbed(kv.values, slot))
        for kind, kv in batch.caches.items()
    }
    with torch.no_grad():
        before = list(hidden_states(drafter, batch, STEPS))
        after = list(hidden_states(drafter, replace(batch, caches=changed), STEPS))
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a[0, : middle + 1], b[0, : middle + 1])
        assert not torch.equal(a[0, middle + 1], b[0, middle + 1])


def test_transformers_forward_sees_the_future(read: Read, batch: Batch) -> None:
    """Why the drafter is not trained with it: its masks let every query see all keys and values."""
    assert read.pair.drafter is not None
    model = Gemma4AssistantForCausalLM.from_pretrained(
        read.pair.drafter.folder, dtype=torch.float32
    ).eval()
    inputs = torch.cat([batch.embedded[:1, : batch.starts], batch.hidden[:1]], -1)
    middle = batch.starts // 2
    slot = int(batch.committed[0, middle])

    def run(change: bool) -> torch.Tensor:
        kv = {
            kind.value: tuple(
                _perturbed(part[:1], slot) if change else part[:1] for part in (kv.keys, kv.values)
            )
            for kind, kv in batch.caches.items()
        }
        with torch.no_grad():
            found: torch.Tensor = model(
                inputs_embeds=inputs, position_ids=batch.committed[:1] + 1, shared_kv_states=kv
            ).last_hidden_state
        return found

    assert not torch.equal(run(False)[0, : middle + 1], run(True)[0, : middle + 1])


def _perturbed(part: torch.Tensor, slot: int) -> torch.Tensor:
    changed = part.clone()
    changed[:, :, slot + 1 :] += 1.0
    return changed


def test_features_come_back_as_they_were_written(read: Read) -> None:
    """In any order, and what a stopped run left behind is taken off."""
    file = read.source.file
    one, *_, last = file.read(range(ANSWERS))
    again_last, again_one = file.read([ANSWERS - 1, 0])
    for a, b in ((one, again_one), (last, again_last)):
        assert torch.equal(a.hidden, b.hidden)
        assert all(torch.equal(a.keys[kind], b.keys[kind]) for kind in AttentionKind)
    whole = file.path.read_bytes()
    assert len(whole) == file.nbytes
    assert file.missing == 0
    try:
        file.path.write_bytes(whole[:-5])
        assert file.missing == 5
        assert file.done() == ANSWERS - 1
        assert len(file.path.read_bytes()) < len(whole) - 5
    finally:
        file.path.write_bytes(whole)


def test_groups_hold_every_answer_once(read: Read) -> None:
    groups = grouped(read.source.file.answers, range(ANSWERS), 150)
    assert sorted(np.concatenate(groups).tolist()) == list(range(ANSWERS))
    assert len(groups) > 1
    for group in groups:
        slots = [read.source.file.answers[index].slots for index in group]
        assert len(group) == 1 or len(group) * max(slots) <= 150
