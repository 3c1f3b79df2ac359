"""What became of a bundle's drafts, as far as a runtime tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime_py.bench.curve import chances, expected_tokens
from runtime_py.bench.paired import Estimate, standard_error
from runtime_py.loop.rounds import Acceptance


@dataclass(frozen=True)
class Drafts:
    """Shares of drafts that were accepted, and what a round of ``length`` drafts emits."""

    length: int
    accepted: float
    """Of all drafts."""
    positions: tuple[float, ...]
    """Of those at each position in the round; empty where the runtime does not tell."""
    tokens: Estimate
    """A round, the verify's own token included; its error is clustered by prompt."""
    adaptive: bool = False
    """Whether a policy drafted less than ``length`` where it saw fit; ``tokens`` are those of full rounds."""

    @staticmethod
    def of(
        by_prompt: Sequence[Acceptance], length: int, *, adaptive: bool = False
    ) -> Drafts | None:
        """From counts by position, one a prompt; None where nothing was drafted.

        Positions that no answer reached are taken to be accepted as often as the last one that was.
        """
        drafted = [prompt for prompt in by_prompt if prompt.rate is not None]
        total = Acceptance.total(drafted)
        if total.rate is None:
            return None
        tokens = expected_tokens(chances(total), length)
        error = standard_error([_residual(prompt, total) for prompt in drafted])
        shares = tuple(a / d for a, d in zip(total.accepted, total.drafted, strict=True))
        tokens_a_round = Estimate(tokens, error, len(drafted))
        return Drafts(length, total.rate, shares, tokens_a_round, adaptive)

    @staticmethod
    def of_rate(rate: float | None, length: int, prompts: int) -> Drafts | None:
        """From a share of all drafts in rounds of ``length``, which is all that the stock engine tells.

        A round of G drafts with the share s accepted emits 1 + G s tokens on average. How sure that is,
        and how the share is made up of positions, cannot be said.
        """
        if rate is None:
            return None
        return Drafts(length, rate, (), Estimate(1 + length * rate, None, prompts))


def _residual(prompt: Acceptance, total: Acceptance) -> float:
    """What a prompt adds to the error of 1 + r_1 + ... + r_G, r_i being the share accepted at position i."""
    pairs = zip(prompt.drafted, prompt.accepted, total.drafted, total.accepted, strict=False)
    return sum((accepted - drafted * a / d) / d for drafted, accepted, d, a in pairs)
