"""Rung: the stock engine's replies about pictures are the reference runtime's, and transformers'."""

from __future__ import annotations

from exporter.verify.evidence import Evidence
from exporter.verify.rung import Rung, Title
from exporter.verify.rungs.media_replies import advice, judge_replies
from runtime_py.chat.media import Medium

TITLE = Title(
    "picture-replies",
    "The stock engine's replies about pictures are transformers' replies",
    advice(Medium.IMAGE),
)


def judge(evidence: Evidence) -> Rung:
    """Compare the engine with the reference runtime, and that with transformers where it can be asked."""
    return judge_replies(TITLE, Medium.IMAGE, evidence)
