"""LiteRT-LM's own command, PyPI's ``litert-lm``: what it says of a bundle, and what it does with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from socket import socket
from subprocess import Popen

import pytest

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.options import ExportOptions
from exporter.pipeline import export
from quantize.builtin_recipes import RECIPES
from runtime_py.chat.conversation import Conversation
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from tests.bundles import ROOT, TINY_DRAFTER, TINY_TARGET, held_out_prompts
from tests.weight_values import adapted

PATIENCE = 600
"""Tenths of a second until the server listens."""

PRESET = """
def get_weather(city: str, days: int) -> dict:
    \"\"\"Tells the weather.\"\"\"
    return {"sky": "rainy", "degrees": 17}


tools = [get_weather]
"""


@dataclass(frozen=True)
class Server:
    """A server that runs, and what it logs."""

    port: int
    log: Path

    def ask(self, path: str, body: object = None) -> str:
        """What it answers, as soon as it answers at all."""
        for _ in range(PATIENCE):
            connection = HTTPConnection(
                "127.0.0.1", self.port
            )  # one that was refused sends no more
            with suppress(ConnectionRefusedError):  # it does not listen yet
                connection.request(
                    "POST" if body else "GET",
                    f"/v1/{path}",
                    json.dumps(body),
                    {"Content-Type": "application/json"},
                )
                answer = connection.getresponse()
                assert answer.status == HTTPStatus.OK, self.log.read_text()
                return answer.read().decode()
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())


def official(home: Path, *arguments: str) -> str:
    """Run the command with its settings in ``home``; all that it writes. It exits with 0 whatever happens."""
    command = [sys.executable, "-m", "litert_lm_cli.main", *arguments]
    environment = {**os.environ, "HOME": str(home)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stdout + done.stderr


def test_describe(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    said = " ".join(official(tmp_path, "describe", str(tiny_bundles["int8"])).split())
    assert "Text Backends: CPU Text Default Backend: CPU" in said
    assert "Speculative Decoding: YES" in said
    assert "Min Runtime Version: 0.15.0" in said


def stock(bundle: Path, prompt: str) -> str:
    """What the engine answers through its own Python interface, with MTP off."""
    asked = [Conversation.asking(prompt)]
    return run_engine(EngineSettings(bundle, False, 500, threads=2), asked).texts[0]


@pytest.mark.parametrize("mtp", ["true", "false", "by config"])
def test_run(mtp: str, tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    """Its defaults: the bundle's backend, sampler and length. MTP is off unless it is asked for."""
    (prompt,) = held_out_prompts(1)
    bundle = tiny_bundles["int8"]
    options = ["--prompt", prompt, "--cache", "no", "--verbose"]
    if mtp == "by config":
        official(tmp_path, "import", str(bundle), "tiny")
        config = tmp_path / "config.json"
        config.write_text('{"models": {"tiny": {"speculative_decoding": true}}}')
        said = official(tmp_path, "run", "tiny", *options, "--config", str(config))
    else:
        said = official(tmp_path, "run", str(bundle), *options, "--speculative-decoding", mtp)
    assert stock(bundle, prompt) in said
    assert ("MTP Drafter - Success rate: " in said) is (mtp != "false")


def test_tools(tmp_path: Path) -> None:
    """It calls the function of a Python file and gives the model what that returns."""
    bundle, preset = tmp_path / "tools.litertlm", tmp_path / "preset.py"
    preset.write_text(PRESET)
    target = adapted(TINY_TARGET, ROOT / "checkpoints" / "tiny" / "tools")
    export(target, open_checkpoint(TINY_DRAFTER), bundle, ExportOptions(RECIPES["int8"]))
    options = ("--preset", str(preset), "--cache", "no", "--speculative-decoding", "true")
    asked = ("--prompt", "What is the weather in Rome for 4 days?")
    said = official(tmp_path, "run", str(bundle), *options, *asked)
    assert '[tool_call] {"name": "get_weather", "arguments": {"city": "Rome", "days": 4}}' in said
    assert said.endswith("It is rainy with 17 degrees.\n")


@pytest.fixture
def server(tiny_bundles: dict[str, Path], tmp_path: Path) -> Iterator[Server]:
    """``litert-lm serve`` of the bundle under the name "tiny", which its configuration gives MTP."""
    official(tmp_path, "import", str(tiny_bundles["int8"]), "tiny")
    settings = tmp_path / ".litert-lm" / "config.json"
    settings.write_text('{"models": {"tiny": {"speculative_decoding": true, "cache": "no"}}}')
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "log"
    with (
        log.open("w") as stream,
        Popen(
            [sys.executable, "-m", "litert_lm_cli.main", "serve", "--port", str(port), "--verbose"],
            env={**os.environ, "HOME": str(tmp_path)},
            stdout=stream,
            stderr=stream,
        ) as process,
    ):
        try:
            yield Server(port, log)
        finally:
            process.kill()


def test_serve(server: Server, tiny_bundles: dict[str, Path]) -> None:
    """OpenAI's interface: the models there are, an answer, and one that streams; MTP is on."""
    (prompt,) = held_out_prompts(1)
    expected = stock(tiny_bundles["int8"], prompt)
    assert [model["id"] for model in json.loads(server.ask("models"))["data"]] == ["tiny"]
    question = {"model": "tiny", "messages": [{"role": "user", "content": prompt}]}
    (choice,) = json.loads(server.ask("chat/completions", question))["choices"]
    assert choice["message"]["content"] == expected
    events = server.ask("chat/completions", {**question, "stream": True}).split("\n\n")
    *chunks, done = (event.removeprefix("data: ") for event in events if event.strip())
    assert done == "[DONE]"
    deltas = [json.loads(chunk)["choices"][0]["delta"].get("content") or "" for chunk in chunks]
    assert "".join(deltas) == expected
    assert sum(map(bool, deltas)) < len(expected.split()) / 2, "a chunk a token: MTP was off"
    assert "Using speculative_decoding from config for model 'tiny': True" in server.log.read_text()
