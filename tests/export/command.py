"""Running the command, and damaging what it is given."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import command
from tests.bundles import TINY_DRAFTER, TINY_TARGET
from tests.command import Done

Break = Callable[[Path, Path], None]


def run(*arguments: str | Path, target: Path = TINY_TARGET, drafter: Path = TINY_DRAFTER) -> Done:
    """Run the command to its end, in this process."""
    return command.run("export", target, drafter, *arguments)


def start(
    output: Path,
    *arguments: str,
    target: Path = TINY_TARGET,
    drafter: Path = TINY_DRAFTER,
    temporary: Path | None = None,
) -> subprocess.Popen[str]:
    """Run it in the background, open to SIGINT even where the tests were told to ignore it (``nohup``).

    Its temporary files are in ``temporary``, if that is given.
    """
    pair = "export", str(target), str(drafter)
    return subprocess.Popen(
        [*command.COMMAND, *pair, "-o", str(output), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=None if temporary is None else {**os.environ, "TMPDIR": str(temporary)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    """Wait until something of this name is in the folder; the process must not end before."""
    while not any(folder.glob(pattern)):
        assert process.poll() is None, f"ended before there was any {pattern}"
        time.sleep(0.005)


def refused(done: Done, *said: str) -> None:
    """It failed with exit code 1 and a message without traceback that says all of these."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    for text in said:
        assert text in done.stderr


def edit_config(folder: Path, **changes: object) -> None:
    """Change keys of the text config."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["text_config"].update(changes)
    path.write_text(json.dumps(config))


Tensors = dict[str, Any]  # of torch, which this module imports only when it has to


def edit_tensors(folder: Path, change: Callable[[Tensors], None]) -> None:
    """Change the weights of a checkpoint."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def grow(path: Path, nbytes: int) -> None:
    """Add a tensor of zeros that takes no room on the disk."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    data = content[8 + length :]
    header["extra"] = {
        "dtype": "U8", "shape": [nbytes], "data_offsets": [len(data), len(data) + nbytes],
    }  # fmt: skip
    packed = json.dumps(header).encode()
    path.write_bytes(len(packed).to_bytes(8, "little") + packed + data)
    os.truncate(path, path.stat().st_size + nbytes)
