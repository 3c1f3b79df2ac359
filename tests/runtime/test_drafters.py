"""``mtp-export compare-drafters``: what it concludes, what it refuses, the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.errors import ParityError
from runtime_py.bench.costs import Costs, Timing
from runtime_py.bench.drafters import DrafterRun, Drafters, compare_drafters
from runtime_py.bench.drafters_text import as_json, told
from runtime_py.bench.verdict import Outcome
from runtime_py.loop.rounds import Acceptance
from tests.bundles import held_out_prompts
from tests.command import Done, run, run_process

PROMPTS = tuple(f"prompt {number}" for number in range(8))


def timing(seconds: float) -> Timing:
    return Timing(seconds, seconds, seconds, 24)


def costs_of(draft: float) -> Costs:
    return Costs({}, timing(1.0), timing(1.5), timing(draft), None, timing(0.0))


def run_of(accepted: list[int], *, draft: float = 0.1) -> DrafterRun:
    """Ten rounds of three drafts to each prompt, of which so many had all three accepted."""
    counts = tuple(Acceptance((10,) * 3, (count,) * 3) for count in accepted)
    answers = tuple((number, 1) for number in range(len(accepted)))
    return DrafterRun(Path("x"), (), answers, counts, 3, costs_of(draft))


def compared(*runs: DrafterRun) -> Drafters:
    found = {Path(str(number)): done for number, done in enumerate(runs)}
    return compare_drafters(list(found), found.__getitem__, PROMPTS[: len(runs[0].answers)])


STOCK = [1, 5, 2, 4, 1, 5, 3, 3]


class TestConclusions:
    """On made-up runs."""

    def test_a_better_drafter(self) -> None:
        """Two more rounds of ten with three drafts right: 0.6 tokens a round, on every prompt."""
        found = compared(run_of(STOCK), run_of([count + 2 for count in STOCK]))
        gain = found.drafters[1].gain
        assert gain is not None
        assert gain.difference == pytest.approx(0.6)
        assert found.drafters[1].tokens[:2] == (1.9, 3.1)
        assert found.best == 1
        assert told(found).startswith(
            "Bundle 2: 0.60 tokens a round more than bundle 1, give or take 0.00."
        )

    def test_a_worse_one(self) -> None:
        found = compared(run_of(STOCK), run_of([0] * 8))
        assert found.best == 0
        assert "fewer than bundle 1" in told(found)
        assert "Keep bundle 1. With bundle 1: 30% of drafts accepted" in told(found)

    @pytest.mark.parametrize("other", [STOCK, [5, 1, 4, 2, 5, 1, 3, 4]])
    def test_no_difference_beyond_noise(self, other: list[int]) -> None:
        found = compared(run_of(STOCK), run_of(other))
        assert found.best == 0
        assert "Bundle 2: no difference beyond noise from bundle 1" in told(found)

    def test_the_best_of_three(self) -> None:
        better = [[count + more for count in STOCK] for more in (2, 4)]
        found = compared(run_of(STOCK), *map(run_of, better))
        assert found.best == 2
        assert "Take bundle 3." in told(found)

    def test_better_drafts_that_cost_too_much(self) -> None:
        found = compared(run_of(STOCK), run_of([count + 2 for count in STOCK], draft=2.0))
        assert "Bundle 2 has the better drafts, but its rounds cost so much more" in told(found)

    def test_five_prompts_conclude_nothing(self) -> None:
        found = compared(run_of(STOCK[:5]), run_of([9] * 5))
        assert found.best == 0
        assert told(found) == "Fewer than 6 prompts conclude nothing: give more with --prompts."

    def test_answers_too_short_to_draft(self) -> None:
        silent = replace(run_of(STOCK), acceptances=(Acceptance((), ()),) * 8)
        found = compared(silent, silent)
        assert found.drafters[0].tokens == (None,) * 8
        assert found.drafters[0].verdict.outcome is Outcome.NOTHING_DRAFTED
        assert "conclude nothing" in told(found)
        json.dumps(as_json(found), allow_nan=False)


class TestTargets:
    """Drafters change no text, so other text is another target's."""

    def test_another_text_is_refused(self) -> None:
        other = replace(run_of(STOCK), answers=((0, 1), (1, 7), *run_of(STOCK).answers[2:]))
        with pytest.raises(ParityError, match=r"another one to 'prompt 1' after 1 tokens"):
            compared(run_of(STOCK), other)

    def test_a_near_tie_of_equal_targets_is_left_out(self) -> None:
        one = replace(run_of(STOCK), target=("a", "b"))
        other = replace(one, answers=((0, 9), *one.answers[1:]))
        found = compared(one, other)
        assert found.left_out == ("prompt 0",)
        assert found.prompts == PROMPTS[1:]
        assert found.drafters[1].gain is not None
        assert found.drafters[1].gain.prompts == 7


def compare(*arguments: str | Path) -> Done:
    return run("compare-drafters", *arguments)


class TestCommand:
    """On tiny bundles."""

    @pytest.fixture
    def prompts(self, tmp_path: Path) -> Path:
        file = tmp_path / "prompts.txt"
        file.write_text("\n".join(held_out_prompts(6)), encoding="utf-8")
        return file

    def test_the_tiny_drafter_and_a_poor_one(
        self, tiny_bundles: dict[str, Path], poor_bundle: Path, prompts: Path
    ) -> None:
        asked = "--prompts", prompts, "--max-new-tokens", "16", "--threads", "1", "--json"
        done = run_process("compare-drafters", poor_bundle, tiny_bundles["int8"], *asked)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        poor, tiny = found["drafters"]
        assert (found["best"], found["left_out"]) == (2, [])
        assert tiny["gain"]["beyond_noise"]
        assert tiny["gain"]["difference"] > 2
        assert len(tiny["tokens"]) == tiny["gain"]["prompts"] == 6
        assert poor["verdict"]["outcome"] == "MTP does not pay"
        assert poor["verdict"]["best"]["drafts"] == 0
        assert "ship with MTP off" in poor["verdict"]["text"]

    def test_a_bundle_with_itself(self, tiny_bundles: dict[str, Path], prompts: Path) -> None:
        bundle = tiny_bundles["int8"]
        done = compare(bundle, bundle, "--prompts", prompts, "--max-new-tokens", "8")
        assert done.returncode == 0, done.stderr
        assert "Bundle 2: no difference beyond noise from bundle 1 (+0.00 tokens" in done.stdout

    def test_another_target(self, tiny_bundles: dict[str, Path], prompts: Path) -> None:
        """Stored in fewer bits it gives another text."""
        bundles = tiny_bundles["int8"], tiny_bundles["smallest"]
        done = compare(*bundles, "--prompts", prompts, "--max-new-tokens", "8")
        assert done.returncode == 3
        assert "compare bundles of one target" in done.stderr

    def test_what_is_refused(
        self, tiny_bundles: dict[str, Path], plain_bundle: Path, prompts: Path
    ) -> None:
        done = compare(tiny_bundles["int8"], plain_bundle, "--prompts", prompts)
        assert done.returncode == 1
        assert "expected a bundle with a drafter, found one without" in done.stderr
        done = compare(plain_bundle, "--prompts", prompts)
        assert done.returncode == 2
        assert "give two bundles or more" in done.stderr
