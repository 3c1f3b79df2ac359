"""What MTP brings with a bundle: from the answers that were compared, and costs measured beside them.

No rung judges it: a drafter may be as bad as it likes, and the text is still right.
"""

from __future__ import annotations

from collections.abc import Sequence

from exporter.verify.answers import PromptAnswers
from runtime_py.bench.costs import ROUNDS, Work, measure_costs
from runtime_py.bench.drafts import Drafts
from runtime_py.bench.verdict import MtpVerdict, judge
from runtime_py.graph_executor import GraphExecutor
from runtime_py.loop.executor import CacheT
from runtime_py.loop.rounds import Acceptance


def acceptances(answers: Sequence[PromptAnswers]) -> list[Acceptance]:
    """Of each speculative answer."""
    return [Acceptance.of(answer.speculative.rounds) for answer in answers if answer.speculative]


def judge_mtp(
    executor: GraphExecutor[CacheT], answers: Sequence[PromptAnswers], tokens: tuple[int, ...]
) -> MtpVerdict:
    """Measure what calls cost after ``tokens``, and conclude; takes as long as some eighty rounds."""
    by_prompt, length = acceptances(answers), executor.draft_length
    drafts = Drafts.of(by_prompt, length)
    if drafts is None:
        return judge(None, drafter=bool(length))
    costs = measure_costs(executor, Work(tokens, (), ROUNDS, 0))
    return judge(drafts, costs.known(length, Acceptance.total(by_prompt)))
