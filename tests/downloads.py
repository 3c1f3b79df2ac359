"""Fetch models from the hub that ``HF_ENDPOINT`` names, in a process that knows no other.

``python -m tests.downloads OWNER/NAME[@REVISION]...`` prints a line of JSON for each: what was downloaded, or
the sentence that refuses it. Anything else is a traceback.
"""

from __future__ import annotations

import json
import sys

from exporter.checkpoints.checkpoint import hash_files
from exporter.checkpoints.hub import download
from exporter.errors import CheckpointError


def main() -> None:
    """Do as the module's docstring says."""
    for argument in sys.argv[1:]:
        name, _, revision = argument.partition("@")
        try:
            folder, commit = download(name, revision or None)
            files = sorted(folder.iterdir())
            found = {
                "folder": str(folder),
                "commit": commit,
                "files": hash_files(files, lambda _: None),
            }
        except CheckpointError as error:
            found = {"refused": str(error)}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
