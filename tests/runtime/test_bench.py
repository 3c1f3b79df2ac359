"""``mtp-export bench``: costs of calls, the curve that follows, sides that take turns, the command."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import count
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from exporter.bundle.stored_contract import VERSION
from runtime_py.bench import run as bench
from runtime_py.bench.comparison import ENGINE, REFERENCE, Side, SideRun, notes, ratios
from runtime_py.bench.costs import Timing, Work, measure_costs
from runtime_py.bench.curve import Known, chances, curve, expected_tokens
from runtime_py.bench.memory import Memory, children_watched
from runtime_py.bench.run import sides_of
from runtime_py.loop.executor import DrafterOutput, DraftFeed, TargetOutput
from runtime_py.loop.rounds import Acceptance
from tests.bundles import held_out_prompts
from tests.command import Done, run, run_process
from tests.runtime.toys import ToyExecutor, leading_astray, perfect


def run_bench(*arguments: str | Path) -> Done:
    return run("bench", *arguments)


class TestCosts:
    """On the toy, which raises if a call is made where the loop would not make it."""

    def test_every_kind_of_call_is_measured(self) -> None:
        toy = ToyExecutor(cache_length=64)
        toy.drafter = leading_astray(toy)
        costs = measure_costs(toy, Work((1, 2, 3), (8, 16), rounds=32, prefills=3), lambda t: None)
        assert [(length, timing.count) for length, timing in costs.prefill.items()] == [
            (8, 3),
            (16, 3),
        ]
        assert costs.verify is not None
        assert costs.draft is not None
        assert costs.lookup is not None
        counts = (costs.decode.count, costs.verify.count, costs.draft.count, costs.lookup.count)
        assert counts == (32, 32, 96, 3)

    def test_without_a_drafter_only_decodes(self) -> None:
        costs = measure_costs(ToyExecutor(draft_length=0), Work((1, 2), (4,), 50, 1))
        assert (costs.verify, costs.draft, costs.lookup) == (None, None, None)

    def test_each_time_is_that_of_its_call(self) -> None:
        """With a clock that goes by calls: a prefill 7 s, a decode 1, a draft 10, a verify 100."""
        toy = Slow(cache_length=64)
        toy.drafter = perfect(toy)
        costs = measure_costs(toy, Work((1, 2), (8,), 8, 2), clock=lambda: toy.now)
        assert costs.verify is not None
        assert costs.draft is not None
        found = (costs.prefill[8], costs.decode, costs.draft, costs.verify, costs.choose)
        assert [timing.median for timing in found] == [7.0, 1.0, 10.0, 100.0, 0.0]
        assert costs.round_cost == (130.0, 130.0)

    def test_drafts_in_one_call_are_compared_with_steps_of_the_rounds_before(self) -> None:
        toy = Slow(cache_length=64, drafts_at_once=3)
        toy.drafter = perfect(toy)
        costs = measure_costs(toy, Work((1, 2), (8,), 8, 2), clock=lambda: toy.now)
        assert costs.draft_round == Timing(15.0, 15.0, 15.0, 8)
        assert costs.draft_round_share == 0.5
        assert costs.round_cost == (115.0, 115.0)
        assert costs.draft == Timing(10.0, 10.0, 10.0, 24)

    def test_a_timing_is_median_and_quartiles(self) -> None:
        assert Timing.of([5.0, 1.0, 2.0, 4.0, 3.0]) == Timing(3.0, 2.0, 4.0, 5)
        assert Timing.of([]) is None


class Slow(ToyExecutor):
    """A toy whose calls take fixed times."""

    now = 0.0

    def prefill(
        self, cache: list[int], tokens: object, position: int, lookups: object = None
    ) -> None:
        self.now += 7.0
        super().prefill(cache, tokens, position)  # type: ignore[arg-type]

    def decode(self, cache: list[int], token: int, position: int) -> TargetOutput:
        self.now += 1.0
        return super().decode(cache, token, position)

    def verify(self, cache: list[int], tokens: object, position: int) -> TargetOutput:
        self.now += 100.0
        return super().verify(cache, tokens, position)  # type: ignore[arg-type]

    def draft(self, feed: DraftFeed[list[int]]) -> DrafterOutput:
        self.now += 10.0
        return super().draft(feed)

    def draft_round(self, feed: DraftFeed[list[int]]) -> list[int]:
        before = self.now
        tokens = super().draft_round(feed)
        self.now = before + 15.0
        return tokens


class TestCurve:
    """Against worked examples and a simulation."""

    def test_chances_are_conditional(self) -> None:
        assert chances(Acceptance((10, 10, 10), (8, 6, 0))) == (0.8, 0.75, 0.0)
        assert chances(Acceptance((10, 9), (0, 0))) == (0.0, 0.0)
        assert chances(Acceptance((), ())) == ()

    def test_a_last_round_that_drafts_less_judges_less(self) -> None:
        """One of five rounds drafted a single token: draft 2 was judged in four, and not in five."""
        assert chances(Acceptance((5, 4), (5, 2))) == (1.0, 0.5)

    def test_expected_tokens_match_a_simulation(self) -> None:
        given, rng = (0.9, 0.6, 0.3), np.random.default_rng(0)
        accepted = (rng.random((200_000, 3)) < given).cumprod(axis=1).sum(axis=1)
        assert expected_tokens(given, 3) == pytest.approx(1 + accepted.mean(), abs=0.01)

    def test_the_bundle_s_own_length_is_the_measured_value(self) -> None:
        known = Known(3, decode=10.0, draft=1.0, verify=17.0, chances=(1.0, 1.0, 1.0))
        points = curve(known)
        assert [point.drafts for point in points] == list(range(1, 9))
        assert points[2].line == points[2].steps == pytest.approx(4 * 10.0 / (3 + 17.0))

    def test_a_verify_is_not_taken_to_cost_less_than_a_decode(self) -> None:
        """One that was measured to, by noise; all drafts are right, and longer ones cost nothing more."""
        found = curve(Known(3, 10.0, 0.5, 9.0, (1.0, 1.0, 1.0)))
        assert found[7].line == pytest.approx(9 * 10.0 / (8 * 0.5 + 10.0))

    def test_the_bundle_s_own_length_is_one_call_if_there_is_one(self) -> None:
        """So is a longer one; shorter ones are steps."""
        known = Known(3, 10.0, 1.0, 17.0, (1.0, 1.0, 1.0), draft_round=1.5)
        assert [known.drafting(drafts) for drafts in (1, 2, 3, 6)] == [1.0, 2.0, 1.5, 3.0]
        assert curve(known)[2].steps == pytest.approx(4 * 10.0 / (1.5 + 17.0))

    def test_other_lengths_are_computed_both_ways(self) -> None:
        known = Known(3, decode=10.0, draft=1.0, verify=16.0, chances=(1.0, 1.0, 0.5))
        first, fourth = curve(known)[0], curve(known)[3]
        assert first.line == pytest.approx(2 * 10 / (1 + 12))
        assert first.steps == pytest.approx(2 * 10 / (1 + 16))
        assert fourth.tokens == 1 + 1 + 1 + 0.5 + 0.25
        assert fourth.steps == pytest.approx(fourth.tokens * 10 / (4 + 32))
        assert (first.tokens_measured, first.steps_measured) == (True, True)
        assert (fourth.tokens_measured, fourth.steps_measured) == (False, False)

    def test_nothing_accepted_is_a_loss(self) -> None:
        known = Known(3, decode=10.0, draft=1.0, verify=16.0, chances=(0.0, 0.0, 0.0))
        assert all(point.line < 1 and point.tokens == 1 for point in curve(known))


def sample(rate: float, *texts: str) -> SideRun:
    return SideRun(rate, 1.0, Memory(2, 1), texts or ("same",))


class TestSides:
    """Without running any."""

    def test_sides_are_those_there_are(self) -> None:
        assert len(sides_of(engine=True, drafter=True)) == 4
        assert sides_of(engine=False, drafter=True) == (
            Side(REFERENCE, False),
            Side(REFERENCE, True),
        )
        assert sides_of(engine=False, drafter=False) == (Side(REFERENCE, False),)

    def test_the_order_turns(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        asked: list[Side] = []
        numbers = count(1)

        def take(side: Side, plan: bench.BenchPlan) -> SideRun:
            asked.append(side)
            return sample(float(next(numbers)))

        monkeypatch.setattr(bench, "take", take)
        sides = sides_of(engine=True, drafter=False)
        plan = bench.BenchPlan(tmp_path, ("?",), 4, 2, 1)
        samples = bench.take_turns(sides, plan, lambda text: None)
        assert [side.runtime for side in asked] == [ENGINE, REFERENCE, REFERENCE, ENGINE]
        assert [one.tokens_per_second for one in samples[Side(ENGINE, False)]] == [1.0, 4.0]

    def test_ratios_are_taken_within_a_round(self) -> None:
        """The machine halves its speed after the first round; the ratio stays."""
        samples = {
            Side(ENGINE, False): [sample(20.0), sample(10.0), sample(10.0)],
            Side(REFERENCE, False): [sample(22.0), sample(11.0), sample(9.0)],
        }
        (found,) = ratios(samples)
        assert found.name == "reference / stock engine, MTP off"
        assert (found.median, found.low, found.high) == pytest.approx((1.1, 0.9, 1.1))
        assert found.of_best == pytest.approx(22 / 20)

    def test_other_text_is_told(self) -> None:
        samples = {
            Side(REFERENCE, False): [sample(1.0, "one two", "three")],
            Side(REFERENCE, True): [sample(1.0, "one two", "three four")],  # cut off later
            Side(ENGINE, True): [sample(1.0, "one two", "four")],
        }
        (note,) = notes(samples, engine=True, drafter=True)
        assert note.startswith("stock engine, MTP on: 1 of 2 answers differ")

    def test_what_was_not_measured_is_told(self) -> None:
        samples = {Side(REFERENCE, False): [sample(1.0)]}
        first, second = notes(samples, engine=False, drafter=False)
        assert "the stock engine is not installed" in first
        assert "no drafter" in second


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_a_child_is_seen() -> None:
    hold = "import time; held = bytearray(b'x' * (200 << 20)); time.sleep(0.3)"
    with children_watched() as memory:
        subprocess.run([sys.executable, "-c", hold], check=True)
    assert memory.resident >= memory.anonymous > 200 << 20


class TestCommand:
    """The whole of it, on tiny bundles."""

    def test_everything_is_measured(self, tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
        prompts, plot = tmp_path / "prompts.txt", tmp_path / "curve.svg"
        prompts.write_text("\n".join(held_out_prompts(3)), encoding="utf-8")
        options = ("--max-new-tokens", "24", "--rounds", "1", "--threads", "1", "--json")
        page = tmp_path / "bench.html"
        more = "--prompts", prompts, *options, "--plot", plot, "--report", page
        done = run_process("bench", tiny_bundles["int8"], *more)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert set(found["costs"]["prefill"]) == {"128", "1024"}
        assert all(found["costs"][name]["median"] > 0 for name in ("decode", "verify", "draft"))
        assert len(found["sides"]) == len(found["ratios"]) == 4
        for side in found["sides"]:
            assert side["tokens_per_second"] > 0
            assert side["load_seconds"] > 0
            assert side["peak_resident_bytes"] >= side["peak_anonymous_bytes"] > 0
        assert 0 < found["engine_success_rate"] <= 1
        assert [point["drafts"] for point in found["curve"]] == list(range(1, 9))
        assert found["notes"] == []
        assert found["verdict"]["outcome"] == "too few prompts"
        assert found["verdict"]["drafts"]["tokens"]["prompts"] == 3
        assert "round 1 of 1: stock engine, MTP on" in done.stderr
        assert ElementTree.fromstring(plot.read_text(encoding="utf-8")).tag.endswith("svg")  # noqa: S314
        assert "Open whether MTP pays: too few prompts" in page.read_text(encoding="utf-8")

    def test_a_bundle_without_a_drafter(self, plain_bundle: Path, tmp_path: Path) -> None:
        plot = tmp_path / "curve.svg"
        options = ("--max-new-tokens", "8", "--rounds", "1", "--plot", plot)
        done = run_bench(plain_bundle, *options)
        assert done.returncode == 0, done.stderr
        assert "note: the bundle has no drafter, so nothing was drafted" in done.stdout
        assert "MTP on" not in done.stdout
        assert "verdict: the bundle has no drafter" in done.stdout
        assert "verify" not in done.stdout
        assert "nothing was drafted" in plot.read_text(encoding="utf-8")

    def test_a_plot_that_cannot_be_written_loses_no_figures(
        self, plain_bundle: Path, tmp_path: Path
    ) -> None:
        plot = tmp_path / "curve.svg"
        plot.mkdir()
        options = ("--max-new-tokens", "8", "--rounds", "1", "--json", "--plot", plot)
        done = run_bench(plain_bundle, *options)
        assert done.returncode == 1
        assert "curve.svg: the plot cannot be written" in done.stderr
        assert json.loads(done.stdout)["costs"]["decode"]["median"] > 0

    def test_errors_exit_with_1(self, tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
        bundle = tmp_path / "not-a.litertlm"
        bundle.write_bytes(b"nothing")
        done = run_bench(bundle)
        assert done.returncode == 1
        assert "expected a .litertlm bundle" in done.stderr
        done = run_bench(tiny_bundles["int8"], "--prompts", tmp_path / "none.txt")
        assert done.returncode == 1
        assert "expected a text file of prompts" in done.stderr
        version = f'"version": {VERSION}'.encode()
        bundle.write_bytes(tiny_bundles["int8"].read_bytes().replace(version, b'"version": 9', 1))
        done = run_bench(bundle)
        assert done.returncode == 1
        assert "contract version 9" in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--plot", "p.png"], "expected a file ending in .svg"),
            (["--report", "p.md"], "expected a file ending in .html, .json"),
            (["--plot", "no/such/p.svg"], "the folder no/such does not exist"),
            (["--rounds", "0"], "Invalid value"),
        ],
    )
    def test_wrong_usage_exits_with_2(self, arguments: list[str], words: str) -> None:
        done = run_bench("x.litertlm", *arguments)
        assert done.returncode == 2
        assert words in done.stderr


def test_the_worker_needs_no_torch() -> None:
    code = (
        "import sys, runtime_py.bench.run, runtime_py.bench.worker; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
