"""What every runtime gives back: a reply for each turn, and the replies of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from exporter.bundle.engine_template import Json
from runtime_py.loop.rounds import Acceptance, Finish, Round, Source

OnChunk = Callable[[str | None], None]
"""Is told each piece of text as it comes, and None after each reply."""


def silent(text: str | None) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Piece:
    """Text that became certain with a token, and where that was drafted; None if the target chose it."""

    text: str
    source: Source | None = None


@dataclass(frozen=True)
class Reply:
    """The answer to one turn, and what it took.

    ``text`` is what the user reads, without ``thought`` and ``tool_calls``, which are in OpenAI's form.
    The stock engine tells neither rounds nor why a reply ended.
    """

    text: str
    prefill_tokens: int
    """Prompt tokens processed for this turn; the last of them by the first decode."""
    prefill_seconds: float
    decode_tokens: int
    decode_seconds: float
    time_to_first_token: float  # seconds
    context_tokens: int
    """Cache slots in use afterwards."""
    thought: str = ""
    tool_calls: tuple[Json, ...] = ()
    reused_tokens: int = 0
    """Prompt tokens that stood in the cache already."""
    rounds: tuple[Round, ...] = ()
    finish: Finish | None = None

    @property
    def tokens(self) -> tuple[int, ...]:
        """What was emitted, a final stop token included."""
        return tuple(token for done in self.rounds for token in done.tokens)

    @property
    def acceptance(self) -> Acceptance:
        """The drafter's drafts and those accepted, by draft position."""
        return Acceptance.of(self.rounds)

    @property
    def prefill_tokens_per_second(self) -> float:
        return _per_second(self.prefill_tokens, self.prefill_seconds)

    def to_json(self) -> dict[str, Any]:
        """Text and measurements."""
        return {
            "text": self.text,
            "prefill_tokens": self.prefill_tokens,
            "prefill_tokens_per_second": self.prefill_tokens_per_second,
            "decode_tokens": self.decode_tokens,
            "decode_tokens_per_second": _per_second(self.decode_tokens, self.decode_seconds),
            "time_to_first_token": self.time_to_first_token,
            "context_tokens": self.context_tokens,
            "thought": self.thought,
            "tool_calls": list(self.tool_calls),
        }


@dataclass(frozen=True)
class RunResult:
    """The replies to every turn of every conversation.

    ``success_rate`` is accepted drafts by drafted ones, over all replies; None without drafting. What was
    looked up in the context does not count.
    """

    replies: tuple[tuple[Reply, ...], ...]
    success_rate: float | None
    init_seconds: float

    @staticmethod
    def counted(replies: Sequence[tuple[Reply, ...]]) -> RunResult:
        """A run whose rounds are known."""
        found = RunResult(tuple(replies), None, 0.0)
        return RunResult(found.replies, found.acceptance.rate, 0.0)

    @property
    def texts(self) -> list[str]:
        """Every reply's text, in order."""
        return [reply.text for reply in chain(*self.replies)]

    @property
    def acceptance(self) -> Acceptance:
        """The drafter's drafts and those accepted, by position; of no drafts where rounds are not known."""
        return Acceptance.of(self._rounds)

    @property
    def lookup_acceptance(self) -> Acceptance:
        """The same of drafts that were looked up in the context."""
        return Acceptance.of(self._rounds, Source.LOOKUP)

    @property
    def _rounds(self) -> list[Round]:
        return [done for reply in chain(*self.replies) for done in reply.rounds]

    @property
    def decode_tokens(self) -> int:
        """Tokens generated in all replies."""
        return sum(reply.decode_tokens for reply in chain(*self.replies))

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens by the time their decoding took, over all replies."""
        seconds = sum(reply.decode_seconds for reply in chain(*self.replies))
        return _per_second(self.decode_tokens, seconds)

    def to_json(self) -> dict[str, Any]:
        """Plain values; acceptance only where rounds are known."""
        told: dict[str, Any] = {
            "replies": [[reply.to_json() for reply in replies] for replies in self.replies],
            "success_rate": self.success_rate,
            "init_seconds": self.init_seconds,
        }
        if self._rounds:
            told["acceptance"] = asdict(self.acceptance)
            told["lookup_acceptance"] = asdict(self.lookup_acceptance)
        return told


def _per_second(count: int, seconds: float) -> float:
    """A rate; 0 where nothing took any time."""
    return count / seconds if seconds > 0 else 0.0
