"""A verdict in words: what was found, what it means, what to do next."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from runtime_py.bench.drafts import Drafts
from runtime_py.bench.paired import LEAST_PROMPTS
from runtime_py.bench.verdict import EVEN, MtpVerdict, Outcome

NEARLY_ALL = 0.9
"""Of all drafts: a drafter with so many accepted has little to learn."""

TUNE = "adapt the drafter to this target with `mtp-export tune`"
MORE = "give more prompts of your own with --prompts FILE"
WHERE = "`mtp-export bench` measures them on this machine, `mtp-export compare` what comes of them"
ENGINE = " The stock engine drafts in every round: `mtp-export bench` says what that is worth."


def as_json(verdict: MtpVerdict) -> dict[str, Any]:
    """Plain values, and the sentences."""
    return {**asdict(verdict), "text": told(verdict)}


def headline(verdict: MtpVerdict) -> str:
    """The conclusion alone, for the head of a page."""
    how = f"{verdict.speed.value:.2f} times as fast as plain decoding" if verdict.speed else ""
    match verdict.outcome:
        case Outcome.PAYS | Outcome.LOSES | Outcome.EVEN:
            return f"{verdict.outcome}: {how}" if how else str(verdict.outcome)
        case Outcome.UNCLEAR:
            return f"Open whether MTP pays: {how}, within the noise"
        case Outcome.NO_DRAFTER:
            return "No drafter: MTP cannot be used"
        case _:
            return f"Open whether MTP pays: {verdict.outcome}"


def told(verdict: MtpVerdict) -> str:
    """A few sentences."""
    drafts = verdict.drafts
    if verdict.outcome is Outcome.NO_DRAFTER:
        return "the bundle has no drafter, so MTP cannot be used with it."
    if drafts is None:
        return "nothing was drafted, so MTP cannot be judged: allow longer answers, or give other prompts."
    return f"{_found(verdict, drafts)}. {_advice(verdict, drafts)}{_lengths(verdict, drafts)}"


def _found(verdict: MtpVerdict, drafts: Drafts) -> str:
    """The figures, in one sentence."""
    each = ", ".join(f"{n}: {share:.0%}" for n, share in enumerate(drafts.positions, start=1))
    text = f"{drafts.accepted:.0%} of drafts accepted" + (f" (by position {each})" if each else "")
    if drafts.adaptive and verdict.speed is not None:
        text += ", as many as `--draft-length auto` made"
    else:
        text += f", {drafts.tokens.value:.2f} tokens a round of {drafts.length} drafts"
    if verdict.round_cost is not None:
        text += f"; a round costs {verdict.round_cost:.2f} decodes"
    if (speed := verdict.speed) is None:
        return text
    how = "measured here" if speed.measured else "by costs measured here"
    if speed.low is not None and speed.high is not None:
        how += f"; {speed.low:.2f} to {speed.high:.2f} with the noise"
    return f"{text}: MTP is {speed.value:.2f} times as fast as plain decoding ({how})"


def _advice(verdict: MtpVerdict, drafts: Drafts) -> str:
    match verdict.outcome:
        case Outcome.TOO_FEW:
            return f"Fewer than {LEAST_PROMPTS} prompts conclude nothing: {MORE}."
        case Outcome.NO_COSTS:
            return (
                f"MTP pays where a round costs less than {drafts.tokens.value:.2f} decodes. Costs are not "
                f"known from this run: {WHERE}."
            )
        case Outcome.UNCLEAR:
            return f"The noise leaves open whether MTP pays: {MORE}, or let the machine be idle."
        case Outcome.PAYS:
            return "MTP pays: ship with MTP on."
        case Outcome.EVEN:
            return f"That is no difference: {_instead(verdict, drafts)}."
        case _:
            certainly = "" if verdict.speed else ", whatever a round costs"
            return f"MTP does not pay{certainly}: {_instead(verdict, drafts)}."


def _instead(verdict: MtpVerdict, drafts: Drafts) -> str:
    """What to do where MTP as it is gains nothing."""
    ceiling = verdict.ceiling
    if ceiling is not None and ceiling <= 1 + EVEN:
        off = f"ship with MTP off; were every draft accepted, it would be {ceiling:.2f}"
    elif drafts.accepted >= NEARLY_ALL:
        off = "ship with MTP off"
    else:
        most = "" if ceiling is None else f", which can bring {ceiling:.2f} at most"
        return (
            f"{TUNE}{most}" if _another_length(verdict) else f"ship with MTP off, or {TUNE}{most}"
        )
    return "the drafts are good, but too dear" if _another_length(verdict) else off


def _another_length(verdict: MtpVerdict) -> bool:
    return verdict.best is not None and verdict.best.drafts > 0


def _lengths(verdict: MtpVerdict, drafts: Drafts) -> str:
    """What is said of other draft lengths, in each runtime."""
    text = ENGINE if drafts.adaptive and verdict.speed else ""
    best, perhaps, auto = verdict.best, verdict.perhaps, verdict.auto
    if best is not None and best.drafts not in (0, drafts.length):
        option = f"--draft-length {best.drafts}"
        text += f" For the stock engine export with {option}: {best.speed_up:.2f} or more."
    if perhaps is not None:
        option = f"--draft-length {perhaps.drafts}"
        text += f" {option} might reach {perhaps.speed_up:.2f}: export with it and compare."
    if auto is not None and auto.drafts != drafts.length:
        does = f"drafts {auto.drafts} ({auto.speed_up:.2f})" if auto.drafts else "stops drafting"
        text += f" The reference runtime's `--draft-length auto` {does} by itself."
    return text
