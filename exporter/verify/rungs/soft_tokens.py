"""What the rungs on graphs for pictures and sounds share: LiteRT makes of them what our tower does.

Both sides have the bundle's own weights. The adapter is given the features that LiteRT found, so that a wrong
encoder does not make it look wrong. Without a checkpoint only the padding is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

from exporter.verify.allowed import GRAPH_REASON, NOISE_REASON, nearest_to_limit, noise_allows
from exporter.verify.compare import position_errors, worst
from exporter.verify.evidence import Evidence
from exporter.verify.medium_evidence import MediumEvidence
from exporter.verify.rung import TAKES_NONE, Figure, Rung, Title
from exporter.verify.sides.stored_weights import UnreadableWeightError
from exporter.verify.tolerances import NOISES
from exporter.weights.tower_parameters import END_EMBEDDING
from runtime_py.chat.media import Medium


def advice(tower: str) -> str:
    """What to do if the graphs of a tower, ``vision`` or ``audio``, are wrong."""
    return (
        "Export again with --fresh-graphs; if the same figures are outside, try --recipe float32 to tell a "
        f"wrong graph from a kernel of this LiteRT version, leave the tower out with --no-{tower} "
        "meanwhile, and report it with both reports."
    )


FLOAT_REASON = (
    f"{GRAPH_REASON}. Where more than that comes of moving inputs by less than float32 tells apart, "
    f"{NOISES:g} times as much"
)

PADDING = "what lies in the padding moves features by"


def judge_graphs(title: Title, medium: Medium, evidence: Evidence) -> Rung:
    """Compare every sample by the signature that it is for, and the embedding behind it."""
    if (found := evidence.medium(medium)) is None:
        return title.skipped(TAKES_NONE[medium])
    figures, note = [*_padding(found)], "without --target only the padding is looked at"
    if evidence.request.target is not None:
        try:
            figures, note = [*figures, *_against_torch(evidence, found)], ""
        except UnreadableWeightError as error:
            return title.skipped(str(error))
    reason = NOISE_REASON if found.rounds else FLOAT_REASON
    return title.judged(figures, reason, note=note)


def _padding(medium: MediumEvidence) -> Iterator[Figure]:
    """Nothing may look at it, so not a bit may change."""
    moved = [
        worst(position_errors(run.dirty, run.found.features))
        for run in medium.runs
        if run.dirty is not None
    ]
    if moved:
        yield Figure(PADDING, max(moved), 0.0)
    yield Figure(f"{medium.plural} that leave padding", len(moved))


def _against_torch(evidence: Evidence, medium: MediumEvidence) -> Iterator[Figure]:
    exact = not medium.rounds and not medium.for_gpu and evidence.passed("weights")
    tower = medium.float_tower if exact else medium.stored_tower
    with evidence.reporter.stage(f"Comparing {medium.plural} with torch", None):
        for run, noise in zip(medium.runs, medium.noise, strict=True):
            expected, where = tower.encode(run.given), run.given.name
            wrong = abs(len(run.found.features) - len(expected))
            yield Figure(f"{where}: soft tokens too many or too few", wrong, 0)
            if wrong:
                continue
            features = position_errors(run.found.features, expected)
            adapted = position_errors(run.found.embeddings, tower.adapt(run.found.features))
            for name, errors, moved in (
                ("features", features, noise.features),
                ("embeddings", adapted, noise.embeddings),
            ):
                yield nearest_to_limit(f"{where}: {name}", errors, noise_allows(moved))
    end = evidence.weights[medium.kind.end][END_EMBEDDING].floats(0, 1)
    off = worst(position_errors(medium.graphs.end()[None], end))
    yield Figure(f"end of a {medium.kind.medium.noun}", off, 0.0)
