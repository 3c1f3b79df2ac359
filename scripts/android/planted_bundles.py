"""Makes a bundle that is known to take red for a fox and blue for a cat, and pictures to show it.

Usage: python -m scripts.android.planted_bundles FOLDER
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.vision import bundles as seeing


def main() -> None:
    """Write ``seeing.litertlm`` and ``pictures`` in place of what is there."""
    folder = Path(sys.argv[1])
    (folder / "seeing.litertlm").unlink(missing_ok=True)
    seeing.export_planted(folder / "seeing.litertlm")
    shutil.rmtree(folder / "pictures", ignore_errors=True)
    seeing.draw_pictures(folder / "pictures")


if __name__ == "__main__":
    main()
