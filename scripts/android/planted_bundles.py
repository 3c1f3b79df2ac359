"""Makes bundles that are known to take colours and tones for animals, and pictures and clips to show them.

Usage: python -m scripts.android.planted_bundles FOLDER
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.audio import bundles as hearing
from tests.vision import bundles as seeing


def main() -> None:
    """Write two bundles, ``pictures`` and ``clips`` in place of what is there."""
    folder = Path(sys.argv[1])
    for name, planted in (("seeing", seeing), ("hearing", hearing)):
        (folder / f"{name}.litertlm").unlink(missing_ok=True)
        planted.export_planted(folder / f"{name}.litertlm")
    for name, make in (("pictures", seeing.draw_pictures), ("clips", hearing.make_clips)):
        shutil.rmtree(folder / name, ignore_errors=True)
        make(folder / name)


if __name__ == "__main__":
    main()
