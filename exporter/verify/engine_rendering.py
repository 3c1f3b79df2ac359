"""Sample conversations rendered by the stock engine, with a bundle's template or with any other."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from exporter.templates.probe import unpack_probe
from exporter.templates.samples import Sample
from runtime_py.chat.conversation import Conversation, Message, Setting
from runtime_py.engine.stock_engine import EngineSettings, render_in_engine


def asked(sample: Sample) -> Conversation:
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
        return render_in_engine(settings, [asked(s) for s in samples], [source] * len(samples))
