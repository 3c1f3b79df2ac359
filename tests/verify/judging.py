"""Some rungs of the ladder, judged on a bundle of the tiny pair's drafter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.contract.names import Accelerator
from exporter.progress import SilentReporter
from exporter.verify.evidence import Evidence, VerifyRequest
from exporter.verify.rung import Rung
from exporter.verify.sides.golden import ask
from exporter.verify.texts import DEFAULT_PROMPTS
from tests.bundles import TINY_DRAFTER

NEW_TOKENS = 16

Judged = dict[str, Rung]


@contextmanager
def evidence_of(bundle: Path, target: Path | None) -> Iterator[Evidence]:
    """What rungs look at, with two prompts."""
    opened = None if target is None else open_checkpoint(target)
    drafter = None if target is None else open_checkpoint(TINY_DRAFTER)
    prompts = DEFAULT_PROMPTS[:2]
    asked = VerifyRequest(bundle, opened, drafter, prompts, Accelerator.CPU, 2, NEW_TOKENS)
    with ExitStack() as stack:
        yield Evidence(asked, SilentReporter(), ask, stack)


def judge(evidence: Evidence, *rungs: ModuleType) -> Judged:
    """Some rungs, by their keys."""
    for rung in rungs:
        evidence.rungs.append(rung.judge(evidence))
    return {rung.key: rung for rung in evidence.rungs}


def judged(bundle: Path, target: Path | None, *rungs: ModuleType) -> Judged:
    """Some rungs of a bundle, by their keys."""
    with evidence_of(bundle, target) as evidence:
        return judge(evidence, *rungs)


def outside(rung: Rung) -> set[str]:
    """Names of the figures that are outside their limits."""
    return {figure.name for figure in rung.failed_figures}


def figure(rung: Rung, name: str) -> float:
    """The value of a rung's figure."""
    (found,) = (figure.value for figure in rung.figures if figure.name == name)
    return found
