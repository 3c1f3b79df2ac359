"""Rung: the stock engine's replies about sounds are the reference runtime's, and transformers'."""

from __future__ import annotations

from exporter.verify.evidence import Evidence
from exporter.verify.rung import Rung, Title
from exporter.verify.rungs.media_replies import advice, judge_replies
from runtime_py.chat.media import Medium

TITLE = Title(
    "sound-replies",
    "The stock engine's replies about sounds are transformers' replies",
    advice(Medium.AUDIO),
)


def judge(evidence: Evidence) -> Rung:
    """Compare the engine with the reference runtime, and that with transformers where it can be asked."""
    return judge_replies(TITLE, Medium.AUDIO, evidence)
