"""What ``verify`` found, as one value that every rendering starts from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from exporter.errors import ParityError
from exporter.report.plain_json import plain
from exporter.report.plots import Series
from exporter.verify.rung import Rung, Verdict
from runtime_py.bench.verdict import MtpVerdict
from runtime_py.bench.verdict_text import as_json

VERSION = 1
"""Of the JSON report."""


@dataclass(frozen=True)
class TokenView:
    """One token of an answer.

    ``drafted`` 0 means the target chose it; k means it was the k-th draft of its round. ``rejected``
    is what was drafted in its place.
    """

    text: str
    drafted: int
    margin: float
    near_tie: bool
    rejected: str


@dataclass(frozen=True)
class AnswerView:
    """An answer, token by token."""

    prompt: str
    tokens: tuple[TokenView, ...]


@dataclass(frozen=True)
class Report:
    """Everything. Holds no path, and no time but in ``mtp``, so that else equal runs give equal reports."""

    bundle: str
    nbytes: int
    recipe: str
    accelerator: str
    tools: dict[str, str]
    notes: tuple[str, ...]
    rungs: tuple[Rung, ...]
    acceptance: tuple[tuple[int, int], ...] = ()
    """Drafted and accepted, by position in the round."""
    tolerance: float | None = None
    """Of LiteRT against torch, drawn into the plot of errors, if it is one number."""
    position_errors: tuple[Series, ...] = ()
    layer_errors: tuple[Series, ...] = ()
    answers: tuple[AnswerView, ...] = ()
    mtp: MtpVerdict | None = None
    """What MTP brings; None where the bundle is not right, which comes first."""

    @property
    def failed(self) -> tuple[Rung, ...]:
        return tuple(rung for rung in self.rungs if rung.verdict is Verdict.FAIL)

    @property
    def what_now(self) -> tuple[tuple[str, str], ...]:
        """Key and advice of every rung that failed; later ones may fail because of the first."""
        return tuple((rung.key, rung.advice) for rung in self.failed)

    @property
    def near_ties(self) -> int:
        return sum(len(rung.near_ties) for rung in self.rungs)

    def count(self, verdict: Verdict) -> int:
        """How many rungs ended so."""
        return sum(rung.verdict is verdict for rung in self.rungs)

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        passed, skipped = self.count(Verdict.PASS), self.count(Verdict.SKIPPED)
        ties = f", {near_ties(self.near_ties)}" if self.near_ties else ""
        if self.failed:
            return (
                f"{len(self.failed)} of {len(self.rungs)} rungs failed; the first is "
                f"“{self.failed[0].title}”"
            )
        rest = f", {skipped} skipped" if skipped else ""
        return f"{passed} of {len(self.rungs)} rungs passed{rest}{ties}"

    def to_json(self) -> dict[str, Any]:
        """As one JSON object; what is not a finite number becomes text."""
        block: dict[str, Any] = plain(asdict(self))
        verdict = "fail" if self.failed else "pass"
        return {
            "version": VERSION,
            "verdict": verdict,
            "headline": self.headline,
            "what_now": [{"rung": key, "advice": advice} for key, advice in self.what_now],
            "near_ties": self.near_ties,
            **block,
            "mtp": None if self.mtp is None else as_json(self.mtp),
        }


def near_ties(count: int) -> str:
    """As a person says it."""
    return "1 near-tie" if count == 1 else f"{count} near-ties"


def require_parity(report: Report) -> None:
    """Exit code 3 for a bundle that does not compute what it should.

    Raises:
        ParityError: Naming every rung that failed and its first finding.
    """
    if findings := [f"{rung.key}: {rung.summary()}" for rung in report.failed]:
        raise ParityError("outside tolerance at " + "\n  also ".join(findings))
