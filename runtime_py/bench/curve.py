"""What another draft length would bring, from measured costs and measured acceptance.

With c_i the chance that draft i is accepted given that those before it were, a round of g drafts emits

    E(g) = 1 + c_1 + c_1 c_2 + ... + c_1 ... c_g        tokens

(the verify's own token, and each draft that survives) and takes g drafts and one verify of g + 1
tokens; decoding the same tokens would take E(g) decodes. So

    speed-up(g) = E(g) * decode / (g * draft + verify(g + 1))

where g drafts of the bundle's draft length or more are one call, if the bundle has it. Measured:
decode = verify(1), draft, verify(G + 1), and c_1 ... c_G, for the bundle's draft length G. Not measured:
c_i beyond G, taken to be c_G again; and verify(T) for other T, which a kernel's row tile decides. It is
given two ways, and the truth of another bundle lies mostly between them:

- *line*: through verify(1) and verify(G + 1), as if every row cost the same;
- *steps*: verify(G + 1) for each G + 1 rows begun. Up to G drafts this is no estimate: the bundle's
  verify is padded to G + 1 rows, so it is what shorter drafts cost with this very bundle.

At G both are the measured value. Source of E(g): Leviathan et al., 2023, equation 1, with a chance for
each position instead of one for all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from runtime_py.loop.rounds import Acceptance

LONGEST = 8
"""Draft length up to which others are estimated; a bundle's own may be longer."""


@dataclass(frozen=True)
class Known:
    """What was measured: seconds of a decode, a draft step and a verify of ``drafts`` + 1 tokens."""

    drafts: int
    decode: float
    draft: float
    verify: float
    chances: tuple[float, ...]
    """For each draft position, of being accepted given that those before it were."""
    draft_round: float | None = None
    """Seconds of ``drafts`` drafts in one call, where the bundle has one."""
    spread: tuple[float, float] | None = None
    """Between what bounds ``round_cost`` lies; None where that is not known."""

    @property
    def round_cost(self) -> float:
        """A round of ``drafts`` drafts, in decodes."""
        return (self.drafting(self.drafts) + self.verify) / self.decode

    @property
    def round_costs(self) -> tuple[float, float]:
        """The least and the most that it may be."""
        either = (self.round_cost, *(self.spread or ()))
        return min(either), max(either)

    def drafting(self, drafts: int) -> float:
        """Seconds of so many drafts; another bundle's single call is taken to cost as much a draft."""
        if self.draft_round is None or drafts < self.drafts:
            return drafts * self.draft
        return drafts * self.draft_round / self.drafts


@dataclass(frozen=True)
class Point:
    """One draft length."""

    drafts: int
    tokens: float
    """Expected in a round."""
    tokens_measured: bool
    """False where the chances of the later positions are assumed."""
    line: float
    steps: float
    """Speed-ups over plain decoding."""
    steps_measured: bool


def chances(acceptance: Acceptance) -> tuple[float, ...]:
    """Chance of each position given that the earlier ones were accepted; 0 where none was judged.

    Of 10 drafts of two tokens, 8 with the first accepted and 6 with both: 0.8 and 0.75.
    """
    result: list[float] = []
    for index, (drafted, accepted) in enumerate(
        zip(acceptance.drafted, acceptance.accepted, strict=True)
    ):
        judged = min(drafted, acceptance.accepted[index - 1]) if index else drafted
        result.append(accepted / judged if judged else 0.0)
    return tuple(result)


def expected_tokens(conditional: Sequence[float], drafts: int) -> float:
    """E(g); positions beyond the known ones repeat the last of them."""
    tokens, alive = 1.0, 1.0
    for index in range(drafts):
        alive *= conditional[min(index, len(conditional) - 1)]
        tokens += alive
    return tokens


def verify_on_line(known: Known, rows: int) -> float:
    """Seconds, as if every row cost the same; not below a decode."""
    slope = (known.verify - known.decode) / known.drafts
    return known.decode + max(0.0, slope) * (rows - 1)


def verify_in_steps(known: Known, rows: int) -> float:
    """Seconds, as if G + 1 rows cost what one of them costs."""
    return known.verify * math.ceil(rows / (known.drafts + 1))


def speed_up(known: Known, drafts: int, verify: float) -> float:
    """Over plain decoding; the formula above."""
    tokens = expected_tokens(known.chances, drafts)
    return tokens * known.decode / (known.drafting(drafts) + verify)


def curve(known: Known, longest: int = LONGEST) -> tuple[Point, ...]:
    """Draft lengths from 1 to ``longest``, or to the bundle's own if that is longer."""
    return tuple(
        Point(
            drafts,
            expected_tokens(known.chances, drafts),
            drafts <= len(known.chances),
            speed_up(known, drafts, verify_on_line(known, drafts + 1)),
            speed_up(known, drafts, verify_in_steps(known, drafts + 1)),
            drafts <= known.drafts,
        )
        for drafts in range(1, max(longest, known.drafts) + 1)
    )
