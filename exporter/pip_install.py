"""The command that installs an extra of this package, for whoever has it from wherever they have it."""

from __future__ import annotations

import json
from functools import cache
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

DISTRIBUTION = "mtp-export"


def pip_install(*extras: str) -> str:
    """Such as ``pip install '.[engine]'`` in the clone that the package was installed from."""
    wanted = f"[{','.join(extras)}]" if extras else ""
    return f"pip install '{_source()}{wanted}'"


@cache
def _source() -> str:
    """The folder or wheel that the package was installed from, or its name if it came from an index.

    A clone that has moved is taken to be where the user is.

    Source: the "Direct URL of the package" specification of the Python Packaging Authority.
    """
    try:
        told = metadata.distribution(DISTRIBUTION).read_text("direct_url.json") or "{}"
    except metadata.PackageNotFoundError:  # run from a folder that is only on the path
        return "."
    url = urlsplit(str(json.loads(told).get("url", "")))
    if url.scheme != "file":
        return DISTRIBUTION
    origin = Path(unquote(url.path))
    here = not origin.exists() or origin.resolve() == Path.cwd().resolve()
    return "." if here else str(origin)
