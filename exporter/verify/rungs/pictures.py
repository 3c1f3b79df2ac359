"""Rung: LiteRT makes of pictures what our tower makes of them, every signature.

Both sides have the bundle's own weights. The adapter is given the features that LiteRT found, so that a wrong
encoder does not make it look wrong. Without a checkpoint only the padding is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

from exporter.contract.names import Section
from exporter.verify.allowed import GRAPH_REASON, NOISE_REASON, nearest_to_limit, noise_allows
from exporter.verify.compare import position_errors, worst
from exporter.verify.evidence import Evidence
from exporter.verify.picture_evidence import PictureEvidence
from exporter.verify.rung import NO_PICTURES, Figure, Rung, Title
from exporter.verify.sides.stored_weights import UnreadableWeightError
from exporter.verify.tolerances import NOISES
from exporter.weights.tower_parameters import END_EMBEDDING

TITLE = Title(
    "pictures",
    "LiteRT makes of pictures what our tower makes of them",
    "Export again with --fresh-graphs; if the same figures are outside, try --recipe float32 to tell a "
    "wrong graph from a kernel of this LiteRT version, and report it with both reports.",
)

FLOAT_REASON = (
    f"{GRAPH_REASON}. Where more than that comes of moving colours by less than float32 tells apart, "
    f"{NOISES:g} times as much"
)

PADDING = "what lies in the padding moves features by"


def judge(evidence: Evidence) -> Rung:
    """Compare every picture by the signature that it is for, and the embedding at its end."""
    if (pictures := evidence.pictures) is None:
        return TITLE.skipped(NO_PICTURES)
    figures, note = [*_padding(pictures)], "without --target only the padding is looked at"
    if evidence.request.target is not None:
        try:
            figures, note = [*figures, *_against_torch(evidence, pictures)], ""
        except UnreadableWeightError as error:
            return TITLE.skipped(str(error))
    reason = NOISE_REASON if pictures.rounds else FLOAT_REASON
    return TITLE.judged(figures, reason, note=note)


def _padding(pictures: PictureEvidence) -> Iterator[Figure]:
    """Nothing may look at it, so not a bit may change."""
    moved = [
        worst(position_errors(run.dirty, run.seen.features))
        for run in pictures.runs
        if run.dirty is not None
    ]
    if moved:
        yield Figure(PADDING, max(moved), 0.0)
    yield Figure("pictures that leave padding", len(moved))


def _against_torch(evidence: Evidence, pictures: PictureEvidence) -> Iterator[Figure]:
    exact = not pictures.rounds and not pictures.for_gpu and evidence.passed("weights")
    tower = pictures.float_tower if exact else pictures.stored_tower
    with evidence.reporter.stage("Comparing pictures with torch", None):
        for number, run in enumerate(pictures.runs):
            noise = pictures.noise[number]
            expected = tower.encode(run.patches.padded(run.sample.tokens * pictures.shrink))
            where = f"{run.sample.tokens} tokens, {'full' if run.sample.fills else 'padded'}"
            wrong = abs(len(run.seen.features) - len(expected))
            yield Figure(f"{where}: soft tokens too many or too few", wrong, 0)
            if wrong:
                continue
            features = position_errors(run.seen.features, expected)
            adapted = position_errors(run.seen.embeddings, tower.adapt(run.seen.features))
            for name, errors, moved in (
                ("features", features, noise.features),
                ("embeddings", adapted, noise.embeddings),
            ):
                yield nearest_to_limit(f"{where}: {name}", errors, noise_allows(moved))
    end = evidence.weights[Section.END_OF_VISION][END_EMBEDDING].floats(0, 1)
    yield Figure("end of a picture", worst(position_errors(pictures.graphs.end()[None], end)), 0.0)
