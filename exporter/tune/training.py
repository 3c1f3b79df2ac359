"""Training the drafter on what the target answers, step by step, from the beginning or a saved state."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from exporter.files.interrupts import held_back
from exporter.model.text.drafter import Drafter
from exporter.progress import Advance
from exporter.tune.answers import Answer
from exporter.tune.chain import Source
from exporter.tune.drafter_weights import trained
from exporter.tune.loss import Objective
from exporter.tune.options import Plan, TuneError
from exporter.tune.outcome import Reading

READINGS = 20
"""Evaluations over the planned steps."""

PATIENCE = 4
"""Evaluations without a new best after which the training ends."""

WARM_UP, LAST_RATE = 0.05, 0.02
BETAS, WEIGHT_DECAY, CLIP = (0.9, 0.98), 0.01, 1.0

BATCH_TOKENS = 2048
"""Slots of answers in one forward pass; a step of the optimiser takes as many passes as it needs."""

Score = Callable[[Drafter], float]
"""Acceptance on the watched answers, from every position."""


@dataclass
class Progress:
    """Where a training stands; with the drafter and the optimiser, all that it takes to go on."""

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    """Of the steps since the last reading, ``loss_steps`` of them."""
    loss_steps: int = 0
    since_best: int = 0
    course: list[Reading] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    """The parameters of the best reading."""

    @property
    def best_score(self) -> float:
        """The best reading's acceptance."""
        return max((reading.acceptance for reading in self.course), default=-math.inf)


class Training:
    """Trains a drafter in place.

    Args:
        drafter: Its parameters with gradients are trained.
        source: The training answers.
        plan: How.
        score: Acceptance of a drafter on the watched answers.
        state: Where progress is kept.
    """

    def __init__(
        self, drafter: Drafter, source: Source, plan: Plan, score: Score, state: Path
    ) -> None:
        self.drafter, self.source, self.plan, self.score = drafter, source, plan, score
        self.state = state
        self.objective = Objective.of(drafter, plan.rollout)
        self.optimiser = optimiser_of(list(trained(drafter).values()))
        self.steps = planned_steps(source.file.answers, plan)
        self.progress = Progress()

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.progress.step >= len(self.steps) or self.progress.since_best >= PATIENCE

    def run(self, advance: Advance, note: Callable[[str], None]) -> Progress:
        """Train to the end; every reading is told.

        What was reached is saved at every reading, and when this is interrupted. A step in which that happens
        has not taken place.
        """
        advance(self.progress.step)
        try:
            with torch.device(self.source.device):
                self._run(advance, note)
        except KeyboardInterrupt:
            self.save()
            raise
        return self.progress

    def _run(self, advance: Advance, note: Callable[[str], None]) -> None:
        while True:
            if self._reading_is_due():
                self._read()
                self.save()
                note(self._told())
            if self.finished:
                return
            self._step(self.steps[self.progress.step])
            advance(1)

    def _told(self) -> str:
        """The last reading, and how long the rest may take."""
        progress, steps = self.progress, len(self.steps)
        last = progress.course[-1]
        loss = "" if last.loss is None else f", loss {last.loss:.3f}"
        each = progress.seconds / max(1, progress.step)
        left = f", at most {each * (steps - progress.step):.0f} s left" if progress.step else ""
        return (
            f"step {last.step} of {steps}: {last.acceptance:.1%} of the drafts accepted on watched "
            f"answers{loss}{left}"
        )

    def _reading_is_due(self) -> bool:
        step, course = self.progress.step, self.progress.course
        interval = max(1, round(len(self.steps) / READINGS))
        due = step % interval == 0 or step == len(self.steps)
        return due and (not course or course[-1].step != step)

    def _read(self) -> None:
        begun, progress = time.monotonic(), self.progress
        score = self.score(self.drafter)
        with held_back():
            better = score > progress.best_score
            loss = progress.loss_sum / progress.loss_steps if progress.loss_steps else None
            progress.course.append(Reading(progress.step, score, loss))
            progress.since_best = 0 if better else progress.since_best + 1
            progress.loss_sum, progress.loss_steps = 0.0, 0
            if better:
                found = trained(self.drafter)
                progress.best = {name: p.detach().cpu().clone() for name, p in found.items()}
            progress.seconds += time.monotonic() - begun

    def _step(self, indices: Sequence[int]) -> None:
        begun = time.monotonic()
        loss = self._gradients(indices)
        with held_back():
            self._update()
            self.progress.step += 1
            self.progress.loss_sum += loss
            self.progress.loss_steps += 1
            self.progress.seconds += time.monotonic() - begun

    def _gradients(self, indices: Sequence[int]) -> float:
        """Those of a step's answers, in the parameters; returns the loss."""
        self.optimiser.zero_grad(set_to_none=True)
        answers = [self.source.file.answers[index] for index in indices]
        counts = self.objective.counts(answers, len(self.drafter.lm_head.weight))
        total = 0.0
        for _, batch in self.source.batches(indices, self.plan.rollout, BATCH_TOKENS):
            loss = self.objective.loss(self.drafter, batch, counts)
            torch.autograd.backward([loss])
            total += float(loss.detach())
        return total

    def _update(self) -> None:
        rate = learning_rate(self.progress.step, len(self.steps), self.plan.rate)
        parameters = list(trained(self.drafter).values())
        nn.utils.clip_grad_norm_(parameters, CLIP)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()

    def save(self) -> None:
        """Keep everything that going on needs."""
        progress = {**vars(self.progress), "course": [asdict(r) for r in self.progress.course]}
        parameters = {name: p.detach() for name, p in trained(self.drafter).items()}
        whole = {
            "progress": progress,
            "parameters": parameters,
            "optimiser": self.optimiser.state_dict(),
        }
        with held_back():
            save_whole(whole, self.state)

    def restore(self) -> None:
        """Go on from what was kept, if anything was.

        Raises:
            TuneError: It is damaged.
        """
        if not self.state.exists():
            return
        try:
            self._restore()
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # torch's reader raises whatever it hits
            raise TuneError(
                f"{self.state}: expected the state of this training, found something else "
                f"({type(error).__name__}); remove the file, and --resume trains from the beginning"
            ) from error

    def _restore(self) -> None:
        device = self.source.device
        whole: dict[str, Any] = torch.load(self.state, map_location=device, weights_only=True)
        course = [Reading(**reading) for reading in whole["progress"].pop("course")]
        best = {name: p.cpu() for name, p in whole["progress"].pop("best").items()}
        self.progress = Progress(**whole["progress"], course=course, best=best)
        set_parameters(self.drafter, whole["parameters"])
        self.optimiser.load_state_dict(whole["optimiser"])


def save_whole(whole: Mapping[str, Any], path: Path) -> None:
    """Keep values as torch keeps them: the file is whole, or what it was before.

    Raises:
        OSError: It cannot be written.
    """
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as stream:
            torch.save(whole, stream)
        partial.replace(path)
    except RuntimeError as error:  # torch's end of a file that the disk had no room for
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise
    finally:
        partial.unlink(missing_ok=True)


@torch.no_grad()
def set_parameters(drafter: Drafter, values: Mapping[str, Tensor]) -> None:
    """Give some of a drafter's parameters other values."""
    for name, value in values.items():
        drafter.get_parameter(name).copy_(value)


def optimiser_of(parameters: Sequence[nn.Parameter]) -> torch.optim.AdamW:
    """AdamW with a small decay of matrices alone."""
    matrices = [p for p in parameters if p.ndim == 2]
    others = [p for p in parameters if p.ndim != 2]
    groups = [
        {"params": matrices, "weight_decay": WEIGHT_DECAY},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=BETAS)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """A linear warm-up, then a cosine down to :data:`LAST_RATE` of the peak."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return peak * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return peak * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done)))


def planned_steps(answers: Sequence[Answer], plan: Plan) -> list[list[int]]:
    """The answers of every step, by index: all of them in each epoch, in an order of its own."""
    steps = list[list[int]]()
    for epoch in range(plan.epochs):
        generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + epoch)
        group, size = list[int](), 0
        for index in torch.randperm(len(answers), generator=generator).tolist():
            group.append(index)
            size += answers[index].starts
            if size >= plan.step_tokens:
                steps.append(group)
                group, size = [], 0
        if group:
            steps.append(group)
    return steps
