"""Asking the stock engine: the prompts of a verification, and how it renders conversations."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.contract.text import Contract
from exporter.errors import EngineError
from exporter.extras import has_engine
from exporter.installation import Finding
from exporter.pip_install import pip_install
from exporter.progress import Reporter
from exporter.templates.probe import unpack_probe
from exporter.templates.samples import SAMPLES, Sample
from runtime_py.chat.conversation import Conversation, Message, Setting
from runtime_py.engine.stock_engine import EngineSettings, render_in_engine, run_engine
from runtime_py.reply import RunResult


@dataclass(frozen=True)
class EngineAnswers:
    """What the engine said with MTP off and, if the bundle has a drafter, on; or why it said nothing."""

    off: RunResult | None = None
    on: RunResult | None = None
    not_asked: str = ""
    refused: str = ""


def missing_engine() -> str:
    """Why the engine cannot run; empty if it can."""
    if not has_engine():
        return f"the stock engine is not installed: {pip_install('engine')}"
    return ""


def try_engine() -> Finding:
    """Whether the stock engine opens the smallest bundle and renders a question."""
    what = "the stock engine opens a bundle"
    if not has_engine():
        return Finding(what, False, "not installed", pip_install("engine"))
    try:
        (text,) = render_in_probe("{{ messages[0].role }}", SAMPLES[:1])
    except EngineError as error:
        return Finding(what, False, str(error), f"{pip_install('engine')} --force-reinstall")
    return Finding(what, text == "user", f"it rendered {text!r}")


def ask_engine(
    settings: EngineSettings,
    conversations: Sequence[Conversation],
    agreed: Contract,
    reporter: Reporter,
) -> EngineAnswers:
    """Answer every turn with MTP off and on. That the engine refuses is an answer, not an error."""
    if reason := missing_engine():
        return EngineAnswers(not_asked=reason)
    if agreed.accelerator is not settings.accelerator:
        only = agreed.accelerator.value
        return EngineAnswers(
            not_asked=f"the engine runs this bundle with --accelerator {only} only"
        )
    with reporter.stage("Answering the prompts in the stock engine", None):
        try:
            off = run_engine(replace(settings, mtp=False), conversations)
            if not agreed.has_drafter:
                return EngineAnswers(off)
            return EngineAnswers(off, run_engine(replace(settings, mtp=True), conversations))
        except EngineError as error:
            return EngineAnswers(refused=str(error))


def as_conversation(sample: Sample) -> Conversation:
    """A sample as an app gives it to the engine."""
    *history, last = map(Message.from_json, sample.engine)
    return Conversation((last,), tuple(history), Setting(sample.tools, sample.thinking))


def render_in_probe(source: str, samples: Sequence[Sample]) -> list[str]:
    """What the engine makes of samples with the template ``source``; empty where it refuses.

    Raises:
        EngineError: The engine is not installed, or stopped.
    """
    with tempfile.TemporaryDirectory(prefix="mtp-export-probe-") as folder:
        settings = EngineSettings(
            unpack_probe(Path(folder)), mtp=False, max_new_tokens=1, threads=1
        )
        conversations = [as_conversation(sample) for sample in samples]
        return render_in_engine(settings, conversations, [source] * len(samples))
