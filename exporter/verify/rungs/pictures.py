"""Rung: LiteRT makes of pictures what our tower makes of them, every signature."""

from __future__ import annotations

from exporter.verify.evidence import Evidence
from exporter.verify.rung import Rung, Title
from exporter.verify.rungs.soft_tokens import advice, judge_graphs
from runtime_py.chat.media import Medium

TITLE = Title("pictures", "LiteRT makes of pictures what our tower makes of them", advice("vision"))


def judge(evidence: Evidence) -> Rung:
    """Compare what is drawn for every signature."""
    return judge_graphs(TITLE, Medium.IMAGE, evidence)
