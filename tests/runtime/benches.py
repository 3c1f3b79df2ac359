"""A benchmark that never took place, for its page."""

from __future__ import annotations

from runtime_py.bench.comparison import ENGINE, GAIN, REFERENCE, Ratio, SideResult
from runtime_py.bench.costs import Costs, Timing
from runtime_py.bench.curve import chances, curve
from runtime_py.bench.drafts import Drafts
from runtime_py.bench.machine import Machine
from runtime_py.bench.run import Bench
from runtime_py.bench.verdict import Speed, judge
from runtime_py.loop.rounds import Acceptance

MACHINE = Machine("A processor with a long name @ 3.00GHz", "x86_64", 8, ("avx2",), 0.1, 0.2)
BY_PROMPT = [Acceptance((100, 100, 100), (80, 60, 40))] * 8


def bench(gain: float, notes: tuple[str, ...] = ()) -> Bench:
    """Of E2B's size, with MTP so much faster in the engine."""
    decode, draft, verify = (Timing(ms / 1e3, ms / 1e3, ms / 1e3, 24) for ms in (42, 3.3, 102))
    costs = Costs({128: decode}, decode, verify, draft, decode, decode)
    acceptance = Acceptance.total(BY_PROMPT)
    known = costs.known(3, acceptance)
    assert known is not None
    drafts = Drafts.of(BY_PROMPT, 3)
    sides = tuple(
        SideResult(runtime, mtp, 22.0, (22.0,), 1.5, 2 << 30, 1 << 30)
        for runtime in (ENGINE, REFERENCE)
        for mtp in (False, True)
    )
    return Bench(
        "/a/folder/of/somebody/with-a-long-name/gemma-4-E2B-it-finetuned.litertlm",
        3,
        4,
        8,
        64,
        3,
        MACHINE,
        costs,
        sides,
        (Ratio(GAIN.format(ENGINE), gain, gain, gain, gain),),
        acceptance,
        0.6,
        chances(acceptance),
        curve(known),
        notes,
        judge(drafts, known, Speed(gain, gain - 0.01, gain + 0.01)),
    )
