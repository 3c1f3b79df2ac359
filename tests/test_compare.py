"""``mtp-export compare``: speeds with MTP off and on, and whether the text is the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exporter.errors import ParityError
from runtime_py.bench.mtp_comparison import MtpComparison, compare_runs
from runtime_py.reply import Reply, RunResult
from runtime_py.same_text import ReplyLimits
from tests.bundles import held_out_prompts
from tests.command import run, run_without

LIMITS = ReplyLimits(100, 1000, 3)


def answering(
    *texts: str, seconds: float = 1.0, tokens: int = 5, rate: float | None = None
) -> RunResult:
    replies = tuple((Reply(text, 1, 1.0, tokens, seconds, 0.5, 9),) for text in texts)
    return RunResult(replies, rate, 0.0)


def timed(*seconds: float) -> RunResult:
    replies = tuple((Reply("", 1, 1.0, 5, each, 0.5, 9),) for each in seconds)
    return RunResult(replies, 1.0, 0.0)


def compared(off: list[RunResult], on: list[RunResult]) -> MtpComparison:
    return compare_runs(off, on, LIMITS, 3, adaptive=False)


def test_a_stop_token_that_is_not_counted_is_no_difference() -> None:
    """Eight answers of 5 tokens in 1 s, with MTP in 0.5 s and as 4 tokens."""
    texts = [f"answer {number}" for number in range(8)]
    found = compared(
        [answering(*texts)] * 3, [answering(*texts, seconds=0.5, tokens=4, rate=0.5)] * 3
    )
    assert (found.off.tokens, found.on.tokens) == (40, 40)
    assert found.off.rates == (5.0, 5.0, 5.0)
    assert found.on.tokens_per_second == 10.0
    assert found.speed is not None
    assert (found.speed.low, found.speed.value, found.speed.high) == (2.0, 2.0, 2.0)
    assert not found.differences
    assert ["counts 32 tokens" in note for note in found.notes] == [True]
    assert found.verdict is not None
    assert (found.verdict.outcome, found.verdict.round_cost) == ("MTP pays", 2.5 / 2)


def test_medians_leave_a_slow_round_out_and_bounds_do_not() -> None:
    texts = [f"answer {number}" for number in range(6)]
    off = [answering(*texts, seconds=seconds) for seconds in (1.0, 1.0, 4.0)]
    on = [answering(*texts, seconds=seconds, rate=1.0) for seconds in (0.5, 2.0, 0.5)]
    found = compared(off, on)
    assert found.off.tokens_per_second == 5.0
    assert found.speed is not None
    assert (found.speed.low, found.speed.value, found.speed.high) == (0.5, 2.0, 8.0)
    assert found.verdict is not None
    assert found.verdict.outcome == "not beyond noise"


def test_speeds_are_those_of_the_speed_up() -> None:
    """Other answers are slow in every round, so no round is as fast as all medians together."""
    off = [timed(9.0, 1.0, 1.0), timed(1.0, 9.0, 1.0), timed(1.0, 1.0, 9.0)]
    found = compared(off, [timed(1.0, 1.0, 1.0)] * 3)
    assert (found.off.tokens_per_second, found.on.tokens_per_second) == (5.0, 5.0)
    assert max(found.off.rates) < 5.0
    assert found.speed is not None
    assert found.speed.value == 1.0


def test_a_text_that_differs_is_shown_where_it_does() -> None:
    found = compared([answering("one", "one two")], [answering("one", "one six")])
    (difference,) = found.differences
    assert difference.told() == (
        "the texts of answer 2 differ after 4 characters: MTP off 'two', on 'six'"
    )


def test_compare_tells_speed_text_and_verdict(tiny_bundles: dict[str, Path]) -> None:
    asked = [word for prompt in held_out_prompts(2) for word in ("-p", prompt)]
    done = run("compare", tiny_bundles["int8"], *asked, "--max-new-tokens", "200")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "2 answers, 3 rounds, medians"
    off, on = (
        next(line.split() for line in lines if line.startswith(f"MTP {m}")) for m in ("off", "on")
    )
    assert off[2] == on[2], "equal texts have equally many tokens"
    assert "text: identical in all 2 answers" in lines
    assert "Fewer than 6 prompts conclude nothing" in lines[-1]
    order = [line.split("MTP ")[1].split(":")[0] for line in done.stderr.splitlines()]
    assert order == ["off", "on", "on", "off", "off", "on"]


def test_texts_that_differ_exit_with_3() -> None:
    """No good bundle makes them differ, so the command's end is given two runs that do."""
    from exporter.cli.compare import render, require_same_text

    require_same_text(compared([answering("one two")], [answering("one two")]))
    found = compared([answering("one two")], [answering("one six")])
    assert "text: 1 of 1 answers differ" in render(found, 1)
    with pytest.raises(ParityError, match="answer 1 differ after 4 characters") as caught:
        require_same_text(found)
    assert "`mtp-export verify` tells which it is" in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.alone
@pytest.mark.parametrize("runtime", ["litert-lm", "reference"])
def test_compare_says_that_a_poor_drafter_does_not_pay(
    poor_bundle: Path, runtime: str, tmp_path: Path
) -> None:
    """Three drafts in every round, in both runtimes; adaptive drafting would stop."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(held_out_prompts(6)), encoding="utf-8")
    fixed = ("--draft-length", "3") if runtime == "reference" else ()
    asked = "--prompts", prompts, "--max-new-tokens", "24", "--runtime", runtime, *fixed
    done = run("compare", poor_bundle, *asked, "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)["verdict"]
    assert verdict["outcome"] == "MTP does not pay", verdict["text"]
    assert verdict["round_cost"] > 1
    assert len(verdict["drafts"]["positions"]) == (0 if runtime == "litert-lm" else 3)
    assert "ship with MTP off" in verdict["text"]


def test_a_seed_decides_a_text_whatever_is_drafted(tiny_bundles: dict[str, Path]) -> None:
    """Drafting adapts to how long things take, which differs from run to run."""
    options = ("--runtime", "reference", "--temperature", "2", "--seed", "7", "--json")
    prompts = [option for prompt in held_out_prompts(3) for option in ("-p", prompt)]
    asked = (*prompts, "--max-new-tokens", "60", *options)
    done = run("compare", tiny_bundles["int8"], *asked, "--rounds", "2")
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)["runs"]
    found = [[reply["text"] for (reply,) in run["replies"]] for run in runs["off"] + runs["on"]]
    assert found == [found[0]] * 4
    assert len(set(found[0])) == 3


def test_the_engines_extra_is_enough(tiny_bundles: dict[str, Path]) -> None:
    """As in the demo, which installs nothing else."""
    missing = ("torch", "litert_torch", "tokenizers", "transformers", "onnx", "onnxruntime")
    done = run_without(missing, "compare", str(tiny_bundles["int8"]), "-p", "Who?", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert "text: identical" in done.stdout


def test_an_answer_of_one_token(tiny_bundles: dict[str, Path]) -> None:
    """The engine first looks at its limit after the first round with MTP."""
    options = ("--max-new-tokens", "1", "--rounds", "1", "--prompt")
    done = run("compare", tiny_bundles["int8"], *options, *held_out_prompts(1))
    assert done.returncode == 0, done.stderr
    assert "the engine passes the limit by up to a round" in done.stdout
