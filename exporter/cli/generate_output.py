"""What ``generate`` says of runs, and whether those with and without MTP agree."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import click

from exporter.errors import ParityError

if TYPE_CHECKING:
    from runtime_py.bench.paired import Count
    from runtime_py.bench.verdict import MtpVerdict
    from runtime_py.reply import Reply, RunResult
    from runtime_py.same_text import ReplyLimits


def show_calls(run: RunResult) -> None:
    """Tool calls, a line of JSON for each answer that has any; and which answers were only thought."""
    for reply in chain(*run.replies):
        if reply.thought and not reply.text and not reply.tool_calls:
            click.echo("    the answer was cut off in a thought; --json shows it", err=True)
        if reply.tool_calls:
            click.echo(json.dumps({"tool_calls": reply.tool_calls}))


def measurements(run: RunResult) -> str:
    """What a run took, in a line."""
    first = run.replies[0][0].time_to_first_token
    text = (
        f"    {run.decode_tokens} tokens, {run.tokens_per_second:.1f} tokens/s, first after "
        f"{first * 1000:.0f} ms"
    )
    if run.success_rate is not None:
        text += f", success rate of drafts {run.success_rate:.2f}"
    if (rate := run.lookup_acceptance.rate) is not None:
        text += f", of {sum(run.lookup_acceptance.drafted)} looked up in the context {rate:.2f}"
    return text


def verdict_of(runs: Mapping[str, RunResult], drafts: int, *, adaptive: bool) -> MtpVerdict | None:
    """What runs with MTP, and without if there are such, say of it.

    None where there is none with MTP, or where all drafts were looked up in the context.

    Args:
        runs: By mode, `on` and `off`.
        drafts: A full round's.
        adaptive: Whether the runtime drafted as many only where that seemed to pay.
    """
    from runtime_py.bench.drafts import Drafts
    from runtime_py.bench.paired import paired_gain
    from runtime_py.bench.verdict import Speed, judge
    from runtime_py.loop.rounds import Acceptance

    if (on := runs.get("on")) is None:
        return None
    counts = [Acceptance.of([r for reply in c for r in reply.rounds]) for c in on.replies]
    found = Drafts.of(counts, drafts, adaptive=adaptive)
    if found is None:
        found = Drafts.of_rate(on.success_rate, drafts, len(on.replies))
    if found is None and on.lookup_acceptance.drafted:
        return None
    if (off := runs.get("off")) is None or on.lookup_acceptance.drafted:
        return judge(found)  # the speed of what was looked up, too, is not the drafter's
    pairs = list(zip(off.replies, on.replies, strict=True))
    gain = paired_gain([_speed(o, o) for o, _ in pairs], [_speed(w, o) for o, w in pairs])
    return judge(found, measured=Speed.of_pairs(gain))


def _speed(replies: Sequence[Reply], plain: Sequence[Reply]) -> Count:
    """Tokens and seconds of a conversation.

    The engine counts a final stop token without MTP, but mostly not with it: where the text is that of
    plain decoding, so is the number of its tokens.
    """
    from runtime_py.bench.paired import Count

    tokens = sum(
        off.decode_tokens if reply.text == off.text else reply.decode_tokens
        for reply, off in zip(replies, plain, strict=True)
    )
    return Count(tokens, sum(reply.decode_seconds for reply in replies))


def _parts(off: Reply, on: Reply) -> Iterator[tuple[str, str, str]]:
    """What an answer consists of, on both sides."""
    yield "thoughts", off.thought, on.thought
    yield "texts", off.text, on.text
    yield "tool calls", json.dumps(off.tool_calls), json.dumps(on.tool_calls)


def compare(off: RunResult, on: RunResult, limits: ReplyLimits) -> None:
    """Tell that texts with and without MTP are identical, as they must be.

    Raises:
        ParityError: They are not.
    """
    from runtime_py.same_text import first_difference, same_text

    pairs = zip(chain(*off.replies), chain(*on.replies), strict=True)
    for index, (without, with_) in enumerate(pairs, start=1):
        if not same_text(without, with_, limits):
            what, off_said, on_said = next(
                (what, *said) for what, *said in _parts(without, with_) if said[0] != said[1]
            )
            same = first_difference(off_said, on_said)
            raise ParityError(
                f"the {what} with and without MTP differ in answer {index} after {same} characters: "
                f"off {off_said[same:][:40]!r}, on {on_said[same:][:40]!r}"
            )
    told = "identical text"
    if off.texts != on.texts:
        told += " up to the limit, which the engine passes by up to a round with MTP on"
    elif off.decode_tokens != on.decode_tokens:
        told += " (with MTP on the engine mostly does not count a final stop token)"
    click.echo(told, err=True)
