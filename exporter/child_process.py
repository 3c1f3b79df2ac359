"""Child processes that end when their parent does, whatever ended it.

A parent that is killed cannot stop its children. So each of them runs within this module, as
``python -m exporter.child_process PARENT MODULE ARGUMENT...``, which looks every second whether the process
PARENT is still the one it belongs to. On Windows that cannot be told, and children run to their end.

``python -m`` imports from the working folder first, which may be a checkpoint's, with Python files of
strangers. So a child does that only where its parent does.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
import time
from pathlib import Path

SECONDS = 1.0
"""Between looks."""


def child_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module as a program while this process lives."""
    here = {"", str(Path.cwd())}
    safe = [] if here & set(sys.path) else ["-P"]
    return [sys.executable, *safe, "-m", __name__, str(os.getpid()), module, *arguments]


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS)
    os._exit(1)  # nobody is there to be told


def main() -> None:
    """Run the module that the command line names."""
    _, parent, module, *arguments = sys.argv
    threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
