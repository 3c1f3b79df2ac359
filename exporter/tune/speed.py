"""What drafts come to in tokens/s: from what a round costs with the target's bundle, on this machine."""

from __future__ import annotations

from pathlib import Path

from exporter.bundle.reader import open_bundle
from exporter.bundle.stored_contract import stored_contract
from exporter.tune.judge import Judged
from exporter.tune.outcome import Speeds
from exporter.tune.questions import Tokens
from runtime_py.bench.costs import ROUNDS, Costs, Work, measure_costs
from runtime_py.bench.drafts import Drafts
from runtime_py.bench.verdict import judge
from runtime_py.loop.rounds import Acceptance
from runtime_py.opened_model import open_model


def round_costs(bundle: Path, drafts: int, prompt: Tokens) -> Costs | None:
    """What calls cost along an answer; None if the bundle has no drafter, or rounds of other lengths.

    Tuned drafters have the graphs of the one in the bundle, so they cost what it costs.
    """
    manifest = open_bundle(bundle).manifest()
    assert manifest is not None
    agreed = stored_contract(bundle, manifest)
    if not agreed.has_drafter or agreed.draft_length != drafts:
        return None
    with open_model(bundle) as model:
        return measure_costs(model.executor, Work(prompt, (), ROUNDS, 0))


def speeds(before: Judged, after: Judged, costs: Costs) -> Speeds | None:
    """Of both drafters along the same answers; None where nothing was drafted."""
    drafts = Drafts.of(after.acceptances(), after.drafts)
    known = costs.known(after.drafts, Acceptance.total(after.acceptances()))
    if drafts is None or known is None:
        return None
    plain, cost = 1 / costs.decode.median, known.round_cost
    best = judge(drafts, known).best
    return Speeds(
        round_cost=cost,
        plain=plain,
        before=plain * before.drafting().tokens_per_round / cost,
        after=plain * after.drafting().tokens_per_round / cost,
        best_draft_length=None if best is None else best.drafts,
    )
