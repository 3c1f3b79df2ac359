"""A deliberately broken bundle fails at the right rung, and a sound one at none.

One fault each, all in bundles that keep the contract's names, shapes and types: nothing but the
numbers tells. Where a fault can be seen without the checkpoints, that is tested too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.checkpoints.checkpoint import Checkpoint
from exporter.contract.names import Accelerator
from exporter.progress import SilentReporter
from exporter.verify.evidence import VerifyRequest
from exporter.verify.ladder import climb
from exporter.verify.report import Report, require_parity
from exporter.verify.rung import NO_TOWER, TAKES_NONE, Rung, Verdict
from exporter.verify.rungs import contract, graphs, half_precision, shapes, weights
from exporter.verify.rungs.shapes import DRAFTS_DIFFER
from tests.bundles import TINY_TARGET, held_out_prompts
from tests.verify import judging
from tests.verify.asking import NEEDS_MORE, RememberedAnswers
from tests.verify.bundles import SCALED, make_bundle
from tests.verify.faulty_graphs import Fault, tiny_pair

pytestmark = pytest.mark.slow

PROMPTS = 3
MAX_NEW_TOKENS = 12

Climb = Callable[[Fault], Report]


@pytest.fixture(scope="module")
def climbing(tmp_path_factory: pytest.TempPathFactory) -> Climb:
    """Verifies the bundle with a fault; transformers is asked once for all of them."""
    asking = RememberedAnswers()

    def climb_fault(fault: Fault) -> Report:
        bundle = make_bundle(fault, tmp_path_factory.mktemp(fault.name))
        pair = tiny_pair()
        return climb(request(bundle, pair.target, pair.drafter), SilentReporter(), asking)

    return climb_fault


def request(bundle: Path, target: Checkpoint | None, drafter: Checkpoint | None) -> VerifyRequest:
    prompts = tuple(held_out_prompts(PROMPTS))
    return VerifyRequest(bundle, target, drafter, prompts, Accelerator.CPU, 2, MAX_NEW_TOKENS)


def failed(report: Report) -> list[str]:
    return [rung.key for rung in report.failed]


def rung(report: Report, key: str) -> Rung:
    (found,) = (rung for rung in report.rungs if rung.key == key)
    return found


def outside(report: Report, key: str) -> set[str]:
    """Names of the figures of a rung that are outside their limits."""
    return {figure.name for figure in rung(report, key).failed_figures}


def test_a_sound_bundle_passes_every_rung(climbing: Climb) -> None:
    report = climbing(Fault.NONE)
    require_parity(report)
    passed = {rung.key for rung in report.rungs if rung.verdict is Verdict.PASS}
    assert passed == {rung.key for rung in report.rungs} - NEEDS_MORE
    skipped = {rung.key: rung.note for rung in report.rungs if rung.key in NEEDS_MORE}
    assert skipped.pop("onnx").startswith("no --onnx given")
    assert skipped.pop("float16") == half_precision.ON_CPU
    assert set(skipped.values()) == {NO_TOWER, *TAKES_NONE.values()}
    assert report.notes == ()


def test_swapped_donor(climbing: Climb) -> None:
    report = climbing(Fault.DONOR)
    assert failed(report)[0] == "graphs"
    assert {"verify: logits", "decode: logits"} <= outside(report, "graphs")
    assert not {name for name in outside(report, "graphs") if "prefill" in name}
    assert not {name for name in outside(report, "graphs") if "draft" in name}


def test_position_off_by_one(climbing: Climb) -> None:
    report = climbing(Fault.POSITION)
    assert failed(report)[:2] == ["graphs", "drafter"]
    assert outside(report, "graphs") == {"draft: logits", "draft: projected activations"}
    assert "LiteRT: worst step" in outside(report, "drafter")
    assert rung(report, "loop").verdict is Verdict.PASS, "a bad drafter must not change the text"


def test_pre_norm_activations(climbing: Climb) -> None:
    report = climbing(Fault.PRE_NORM)
    assert failed(report)[0] == "graphs"
    assert outside(report, "graphs") == {"decode: activations"}
    assert rung(report, "drafter").verdict is Verdict.PASS


def test_missing_softcap(climbing: Climb) -> None:
    report = climbing(Fault.SOFTCAP)
    assert failed(report)[0] == "graphs"
    assert outside(report, "graphs") == {"verify: logits"}
    assert "quantisation" in failed(report)


def test_transposed_values(climbing: Climb) -> None:
    """Decode alone is right, so this is seen without checkpoints as well."""
    report = climbing(Fault.TRANSPOSED)
    assert failed(report)[:2] == ["graphs", "shapes"]
    assert {"verify: caches", "verify: logits"} <= outside(report, "graphs")
    assert "decode: logits" not in outside(report, "graphs")


def test_wrong_token_ordering(climbing: Climb) -> None:
    """The graphs are right: they do what the wrong table says."""
    report = climbing(Fault.ORDERING)
    assert failed(report)[:2] == ["weights", "drafter"]
    assert "drafter.masked_embedding.token_ordering" in rung(report, "weights").problems[0]
    assert rung(report, "graphs").verdict is Verdict.PASS


def test_wrong_scale(climbing: Climb) -> None:
    """Named by its tensor; the graphs, which use the stored weights on both sides, are right."""
    report = climbing(Fault.SCALE)
    assert failed(report)[0] == "weights"
    assert [problem.split(":")[0] for problem in rung(report, "weights").problems] == [
        f"target.{SCALED}"
    ]
    assert rung(report, "graphs").verdict is Verdict.PASS


def test_wrong_draft_round(climbing: Climb) -> None:
    """Single steps are right, and whatever is drafted changes no text."""
    report = climbing(Fault.DRAFT_ROUND)
    assert failed(report)[0] == "shapes"
    assert outside(report, "shapes") == {DRAFTS_DIFFER}
    assert rung(report, "graphs").verdict is Verdict.PASS
    assert rung(report, "loop").verdict is Verdict.PASS
    wrong = {problem.split(" after")[0] for problem in rung(report, "shapes").problems}
    assert wrong == {"draft 2", "draft 3"}


@pytest.mark.parametrize(
    ("fault", "first", "figure"),
    [
        (Fault.DONOR, "graphs", "verify: logits"),
        (Fault.POSITION, "graphs", "draft: logits"),
        (Fault.PRE_NORM, "graphs", "decode: activations"),
        (Fault.SOFTCAP, "graphs", "verify: logits"),
        (Fault.TRANSPOSED, "graphs", "verify: caches"),
        (Fault.DRAFT_ROUND, "shapes", DRAFTS_DIFFER),
    ],
)
def test_faults_show_through_int4(fault: Fault, first: str, figure: str, tmp_path: Path) -> None:
    """The noise of rounding, which limits are measured by, hides none of them."""
    found = judged_in_int4(fault, tmp_path)
    assert next(key for key, rung in found.items() if rung.verdict is Verdict.FAIL) == first
    assert figure in judging.outside(found[first])


def test_a_sound_int4_bundle_passes(tmp_path: Path) -> None:
    found = judged_in_int4(Fault.NONE, tmp_path)
    assert {rung.verdict for rung in found.values()} == {Verdict.PASS}


def judged_in_int4(fault: Fault, folder: Path) -> judging.Judged:
    """The rungs that compare weights and graphs, which fail first."""
    bundle = make_bundle(fault, folder, "int4")
    return judging.judged(bundle, TINY_TARGET, contract, weights, graphs, shapes)


@pytest.mark.parametrize("fault", [Fault.TRANSPOSED, Fault.DRAFT_ROUND])
def test_faults_seen_without_checkpoints(fault: Fault, tmp_path: Path) -> None:
    report = climb(request(make_bundle(fault, tmp_path), None, None), SilentReporter())
    assert failed(report)[0] == "shapes"
    assert rung(report, "graphs").verdict is Verdict.SKIPPED
    assert rung(report, "graphs").note.startswith("no --target given; with --target CHECKPOINT")
