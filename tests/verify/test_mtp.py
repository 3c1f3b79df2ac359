"""The verdict on MTP that ``verify`` ends with, and the rung about accepted drafts."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from exporter.contract.names import Accelerator
from exporter.progress import SilentReporter
from exporter.verify.evidence import Evidence, VerifyRequest
from exporter.verify.rung import Verdict
from exporter.verify.rungs import acceptance
from exporter.verify.rungs.loop import TITLE as LOOP
from exporter.verify.sides.golden import ask
from runtime_py.bench.verdict import Outcome
from tests.bundles import held_out_prompts


def test_a_poor_drafter(poor_bundle: Path) -> None:
    """Its page says what to do; while another rung fails, nothing is said of MTP."""
    asked = VerifyRequest(
        poor_bundle, None, None, tuple(held_out_prompts(6)), Accelerator.CPU, 1, 16
    )
    with ExitStack() as stack:
        evidence = Evidence(asked, SilentReporter(), ask, stack)
        evidence.rungs.append(LOOP.judged([], "", problems=["another text"]))
        assert acceptance.judge(evidence).note == ""
        evidence.rungs.clear()
        del evidence.mtp
        rung = acceptance.judge(evidence)
        assert rung.verdict is Verdict.FAIL
        assert "`mtp-export tune`" in rung.advice
        assert "a round costs" in rung.note
        assert "MTP does not pay: ship with MTP off" in rung.note
        assert evidence.mtp is not None
        assert evidence.mtp.outcome is Outcome.LOSES
