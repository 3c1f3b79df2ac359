"""A verdict in words: what was found, what it means, what to do next."""

from __future__ import annotations

from runtime_py.bench.drafts import Drafts
from runtime_py.bench.paired import LEAST_PROMPTS
from runtime_py.bench.verdict import MtpVerdict, Outcome

TUNE = "adapt the drafter to this target with `mtp-export tune`"
OFF = f"ship with MTP off, or {TUNE}"
MORE = "give more prompts of your own with --prompts FILE"
WHERE = "`mtp-export bench` measures them on this machine"


def told(verdict: MtpVerdict) -> str:
    """Two or three sentences."""
    if verdict.outcome is Outcome.NO_DRAFTER:
        return "the bundle has no drafter, so MTP cannot be used with it."
    if verdict.drafts is None:
        return "nothing was drafted, so nothing can be said of MTP: let answers be longer, or ask others."
    return f"{_found(verdict, verdict.drafts)}. {_advice(verdict, verdict.drafts)}"


def _found(verdict: MtpVerdict, drafts: Drafts) -> str:
    """The figures, in one sentence."""
    each = ", ".join(f"{n}: {share:.0%}" for n, share in enumerate(drafts.positions, start=1))
    where = f" (by position {each})" if each else ""
    text = (
        f"{drafts.accepted:.0%} of drafts accepted{where}, {drafts.tokens.value:.2f} tokens a round"
    )
    if verdict.round_cost is not None:
        text += f"; a round costs {verdict.round_cost:.2f} decodes"
    if (speed := verdict.speed) is None:
        return text
    how = "measured" if speed.measured else "by these costs"
    if speed.low is not None and speed.high is not None:
        how += f"; {speed.low:.2f} to {speed.high:.2f} with the noise"
    return f"{text}: MTP is {speed.value:.2f} times plain decoding ({how})"


def _advice(verdict: MtpVerdict, drafts: Drafts) -> str:
    match verdict.outcome:
        case Outcome.TOO_FEW:
            return (
                f"Too few prompts to conclude from ({drafts.tokens.prompts}; it takes {LEAST_PROMPTS}): "
                f"{MORE}."
            )
        case Outcome.NO_COSTS:
            return (
                f"MTP pays where a round costs less than {drafts.tokens.value:.2f} decodes. Costs are not "
                f"known from this run: {WHERE}."
            )
        case Outcome.UNCLEAR:
            return f"The noise leaves open whether MTP pays: {MORE}.{_lengths(verdict, drafts)}"
        case Outcome.PAYS:
            return f"MTP pays: ship with MTP on.{_lengths(verdict, drafts)}"
        case _:
            return f"{_not_worth_it(verdict)}{_lengths(verdict, drafts)}"


def _not_worth_it(verdict: MtpVerdict) -> str:
    even = verdict.outcome is Outcome.EVEN
    what = "That is no difference" if even else "MTP does not pay"
    if verdict.speed is None:
        what += ", whatever a round costs"
    return f"{what}: {TUNE if verdict.best and verdict.best.drafts else OFF}."


def _lengths(verdict: MtpVerdict, drafts: Drafts) -> str:
    """What is said of other draft lengths, in each runtime."""
    text = ""
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
