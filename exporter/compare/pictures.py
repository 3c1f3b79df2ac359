"""What a recipe does to pictures: how far soft tokens lie from the reference bundle's.

Pictures are those that ``verify`` draws, through every signature.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from exporter.bundle.reader import open_bundle
from exporter.compare.figures import PictureFigures
from exporter.verify.compare import Floats, position_errors
from exporter.verify.pictures import sample_pictures
from runtime_py.litert.hardware import Hardware
from runtime_py.litert.pictures import PictureGraphs, find_pictures


def soft_tokens(path: Path, threads: int) -> Floats | None:
    """What a bundle makes of the pictures, ``[n, H]``; None where it takes none.

    Raises:
        BundleError: Its sections for pictures are not what it says, or LiteRT refuses them.
    """
    bundle = open_bundle(path)
    contract = find_pictures(bundle)
    if contract is None:
        return None
    with closing(PictureGraphs(bundle, contract, Hardware(threads=threads))) as graphs:
        seen = []
        for picture in sample_pictures(contract):
            features = graphs.encode(picture.patches(contract.patch_size), picture.tokens)
            seen.append(graphs.adapt(features, picture.tokens))
    return np.concatenate(seen)


def compare_pictures(seen: Floats | None, reference: Floats | None) -> PictureFigures | None:
    """How far soft tokens are from the reference's; None where there are none to compare."""
    if seen is None or reference is None or seen.shape != reference.shape:
        return None
    errors = position_errors(seen, reference)
    return PictureFigures(float(np.median(errors)), float(errors.max()), len(errors))
