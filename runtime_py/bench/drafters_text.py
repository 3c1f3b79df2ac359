"""A comparison of drafters in words."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from runtime_py.bench.drafters import Drafter, Drafters
from runtime_py.bench.paired import LEAST_PROMPTS, Gain
from runtime_py.bench.verdict import EVEN
from runtime_py.bench.verdict_text import as_json as verdict_json
from runtime_py.bench.verdict_text import told as told_verdict


def as_json(found: Drafters) -> dict[str, Any]:
    """Plain values, and the sentences."""
    each = [
        {
            **asdict(drafter),
            "verdict": verdict_json(drafter.verdict),
            "gain": None if drafter.gain is None else _gain_as_json(drafter.gain),
        }
        for drafter in found.drafters
    ]
    return {**asdict(found), "drafters": each, "best": found.best + 1, "text": told(found)}


def _gain_as_json(gain: Gain) -> dict[str, Any]:
    derived = {
        "difference": gain.difference,
        "ratio": gain.ratio,
        "beyond_noise": gain.beyond_noise,
    }
    return {**asdict(gain), **derived}


def told(found: Drafters) -> str:
    """Each drafter against the first, which one to take, and whether MTP pays with it."""
    gains = [drafter.gain for drafter in found.drafters if drafter.gain is not None]
    if min(gain.prompts for gain in gains) < LEAST_PROMPTS:
        return f"Fewer than {LEAST_PROMPTS} prompts conclude nothing: give more with --prompts."
    each = [f"Bundle {index}: {_against(gain)}." for index, gain in enumerate(gains, start=2)]
    best = found.drafters[found.best]
    verdict = f"With bundle {found.best + 1}: {told_verdict(best.verdict)}"
    return " ".join([*each, _choice(found, best), verdict])


def _against(gain: Gain) -> str:
    size = f"{abs(gain.difference):.2f} tokens a round"
    which = "more" if gain.difference > 0 else "fewer"
    noise = f"give or take {gain.noise:.2f}"
    if gain.beyond_noise:
        return f"{size} {which} than bundle 1, {noise}"
    return (
        f"no difference beyond noise from bundle 1 ({gain.difference:+.2f} tokens a round, {noise})"
    )


def _choice(found: Drafters, best: Drafter) -> str:
    first = found.drafters[0]
    if best is first:
        return "Keep bundle 1."
    before, after = first.verdict.speed, best.verdict.speed
    if before is not None and after is not None and after.value < before.value * (1 - EVEN):
        return (
            f"Bundle {found.best + 1} has the better drafts, but its rounds cost so much more that it is "
            "slower: keep bundle 1 unless `mtp-export bench` of both says otherwise."
        )
    return f"Take bundle {found.best + 1}."
