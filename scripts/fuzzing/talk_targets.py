"""What is said to a model: chat files, prompts, templates, pictures and sounds."""

from __future__ import annotations

import base64
import io
import json
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from exporter.bundle.engine_template import EngineTemplate
from exporter.contract.vision import VisionContract
from exporter.errors import TemplateError
from exporter.templates.huggingface import HuggingFaceTemplate
from exporter.templates.samples import SAMPLES
from exporter.verify.texts import read_prompts
from fuzzing.places import CHECKPOINTS
from fuzzing.target import Case, Target
from runtime_py.chat.chat_file import read_chat_file
from runtime_py.chat.chat_lines import read_chat_lines
from runtime_py.chat.conversation import Conversation, as_message
from runtime_py.chat.media import Medium, read_file
from runtime_py.media.picture_file import picture_patches
from runtime_py.media.sound_file import sound_samples

AUDIO_FILES = CHECKPOINTS.parent.parent / "tests" / "audio"
GEMMA = CHECKPOINTS.parent.parent / "exporter" / "templates" / "gemma4.jinja"


def _pictures() -> dict[str, bytes]:
    """One of each kind that decoders treat by themselves."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 40, 4), np.uint8)
    whole = Image.fromarray(noise)
    made = {
        "plain.png": (whole.convert("RGB"), {}),
        "alpha.png": (whole, {}),
        "palette.png": (whole.convert("P"), {}),
        "deep.png": (Image.fromarray(noise[:, :, 0].astype(np.uint16) * 257), {}),
        "bits.png": (whole.convert("1"), {}),
        "plain.jpg": (whole.convert("RGB"), {}),
        "grey.jpg": (whole.convert("L"), {"progressive": True}),
        "inks.jpg": (whole.convert("RGB").convert("CMYK"), {}),
    }
    found = {}
    for name, (picture, options) in made.items():
        stream = io.BytesIO()
        picture.save(stream, "PNG" if name.endswith("png") else "JPEG", **options)
        found[name] = stream.getvalue()
    return found


def pictures(folder: Path) -> Target:
    """PNG and JPEG files, decoded into patches."""
    parts = _pictures()
    contract = VisionContract((64,), 4, 3, 16, 128)

    def read(path: Path) -> None:
        picture_patches(read_file(Medium.IMAGE, path), contract, 64)

    return Target(  # the largest that is taken has 89 million pixels
        "pictures", parts, lambda case: _one_file(folder, case, read), seconds=60, memory=2 << 30
    )


def sounds(folder: Path) -> Target:
    """WAV, FLAC and MP3 files, decoded into samples."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as writer:
        writer.setnchannels(2)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(bytes(range(256)) * 4)
    parts = {
        "sound.wav": stream.getvalue(),
        "sound.flac": (AUDIO_FILES / "middle.flac").read_bytes(),
        "sound.mp3": (AUDIO_FILES / "high.mp3").read_bytes(),
    }

    def read(path: Path) -> None:
        sound_samples(read_file(Medium.AUDIO, path))

    return Target("sounds", parts, lambda case: _one_file(folder, case, read))


def _one_file(folder: Path, case: Case, read: Callable[[Path], None]) -> None:
    path = folder / case.part
    path.write_bytes(case.content)
    read(path)


def chat(folder: Path) -> Target:
    """Chat files, files of a conversation a line, and prompts; conversations are rendered, too."""
    picture = base64.b64encode(_pictures()["bits.png"]).decode()
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}}
    tool = {"type": "function", "function": function}
    conversation = {
        "messages": [
            {"role": "system", "content": "Be terse."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image", "blob": picture}]},
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "hm",
                "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": '{"a": [1, "x"]}'}}],
            },
            {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "4"}]},
            {"role": "tool", "content": [{"type": "tool_response", "name": "f", "response": {"b": 1}}]},
            {"role": "user", "content": "Why?"},
        ],
        "tools": [tool],
        "thinking": True,
    }  # fmt: skip
    lines = [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    ] * 3
    parts = {
        "chat.json": json.dumps(conversation).encode(),
        "chats.jsonl": "\n".join(map(json.dumps, lines)).encode(),
        "prompts.txt": "One\nTwo <|turn>\nDrei €\n".encode(),
    }
    template = EngineTemplate(GEMMA.read_text(encoding="utf-8"))

    def render(found: Conversation) -> None:
        said = (*found.history, *map(as_message, found.turns))
        messages = [message.to_json() for message in said]
        template.render(messages, tools=found.setting.tools, thinking=found.setting.thinking)

    def read(path: Path) -> None:
        if path.name == "chat.json":
            render(read_chat_file(path))
        elif path.name == "chats.jsonl":
            for line in read_chat_lines(path):
                render(line.conversation)
        else:
            read_prompts(path)

    return Target("chat", parts, lambda case: _one_file(folder, case, read))


def templates(folder: Path) -> Target:
    """Templates, rendered as transformers does and as the engine does, with every sample."""
    parts = {
        "messages.jinja": GEMMA.with_name("messages.jinja").read_bytes(),
        "tiny.jinja": (CHECKPOINTS / "target" / "chat_template.jinja").read_bytes(),
    }

    def read(path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise TemplateError(str(error)) from error
        refused = None
        for render in (_as_transformers, _as_engine):
            try:
                render(text)
            except TemplateError as error:
                refused = error
        if refused is not None:
            raise refused

    return Target("templates", parts, lambda case: _one_file(folder, case, read), bounded=True)


def _as_transformers(text: str) -> None:
    template = HuggingFaceTemplate(text)
    for sample in SAMPLES[:3]:
        template.render(sample.transformers[0], tools=sample.tools, thinking=sample.thinking)


def _as_engine(text: str) -> None:
    template = EngineTemplate(text)
    for sample in SAMPLES[:3]:
        template.render(sample.engine, tools=sample.tools, thinking=sample.thinking)
