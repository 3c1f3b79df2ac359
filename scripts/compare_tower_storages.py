"""What storing a tower in fewer bits does to small towers: the tables of docs/pictures.md and docs/sound.md.

    python scripts/compare_tower_storages.py vision
    python scripts/compare_tower_storages.py audio

A random tower, whose answers nobody knows, and a planted one, which takes colours or tones for animals that
the tiny target can tell of (`tests/vision/targets.py`, `tests/audio/targets.py`), are exported with every
storage and compared with themselves in float32, as `quantize-report` does. The text model is float32. Graphs
that are not kept yet are lowered.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).parent.parent))  # for the targets of the tests

from exporter.bundle.reader import open_bundle
from exporter.compare.figures import MediumFigures
from exporter.compare.media import Observed, compare_media, observe
from exporter.compare.questions import Question
from exporter.contract.names import Section
from exporter.options import ExportOptions
from exporter.report.tables import Table
from quantize.builtin_recipes import FLOAT32
from quantize.recipe import Algorithm, Recipe, Rule
from quantize.storage import Storage
from tests.audio import bundles as hearing
from tests.audio import targets as audio
from tests.once import unpack_graphs
from tests.vision import bundles as seeing
from tests.vision import targets as vision
from tests.vision.asking import NEW_TOKENS, QUESTIONS, conversation

STORED = (
    (Storage.INT8, Algorithm.MINMAX),
    (Storage.INT8, Algorithm.CLIP),
    (Storage.INT4, Algorithm.MINMAX),
    (Storage.INT4, Algorithm.CLIP),
)
THREADS, SEED = 2, 3

FIGURES = ("encoder, kB", "median", "worst", "same reply", "right")


@dataclass(frozen=True)
class Case:
    """A tower of one kind, and what it is asked; without questions, about what is drawn."""

    name: str
    target: Callable[[Path], Path]
    options: Mapping[str, Any]
    questions: Sequence[Question]


@click.command()
@click.argument("kind", type=click.Choice(["vision", "audio"]))
def main(kind: str) -> None:
    """Export and compare."""
    unpack_graphs()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = _vision(folder) if kind == "vision" else _audio(folder)
        for case in cases:
            table = Table((f"`{kind}.*`", *FIGURES), tuple(_rows(kind, case, folder / case.name)))
            click.echo("\n".join(["", f"{case.name}:", *table.markdown()]))


def _rows(kind: str, case: Case, folder: Path) -> Iterator[tuple[str, ...]]:
    folder.mkdir()
    target = case.target(folder / "target")
    reference: Observed | None = None
    for recipe in (FLOAT32, *_recipes(kind)):
        output = folder / f"{recipe.name}.litertlm"
        seeing.export_with(target, output, ExportOptions(recipe, **case.options))
        found = observe(output, case.questions, NEW_TOKENS, THREADS)
        reference = reference or found
        (figures,) = compare_media(found, reference)
        yield recipe.name, _kilobytes(kind, output), *_shown(figures)


def _recipes(kind: str) -> Iterator[Recipe]:
    """Rows of nine numbers, kernels of sound's first convolution, are int8: they fit no four bits."""
    convolutions = f"{kind}.subsample_conv_projection.layer*"
    first = (Rule(convolutions, Storage.INT8),) if kind == "audio" else ()
    for storage, algorithm in STORED:
        suffix = "" if algorithm is Algorithm.MINMAX else f"-{algorithm.value}"
        rules = (*first, Rule(f"{kind}.*", storage, algorithm))
        yield Recipe(f"{storage.value}{suffix}", "a tower's storage", rules)


def _kilobytes(kind: str, bundle: Path) -> str:
    section = Section.VISION_ENCODER if kind == "vision" else Section.AUDIO_ENCODER
    found = open_bundle(bundle).model(section)
    assert found is not None
    return f"{found.nbytes / 1e3:.0f}"


def _shown(figures: MediumFigures) -> tuple[str, ...]:
    return (
        f"{figures.median:.1%}",
        f"{figures.worst:.1%}",
        f"{figures.same} of {figures.asked}",
        f"{figures.right} of {figures.known}" if figures.known else "",
    )


def _asked(files: Mapping[Path, str]) -> tuple[Question, ...]:
    """Every question about the animal that each file is taken for."""
    found = []
    for file, animal in files.items():
        for question, right in QUESTIONS[animal].items():
            before, after = question.split("{}")
            found.append(Question(conversation([[before, file, after]]), right))
    return tuple(found)


def _vision(folder: Path) -> Iterator[Case]:
    pictures = folder / "pictures"
    seeing.draw_pictures(pictures)
    random = vision.random_tower(vision.CLIPPED, seed=SEED)
    planted = vision.planted_tower({c: seeing.token_of(a) for c, a in seeing.ANIMALS.items()})
    files = {
        pictures / f"{colour}.{ending}": animal
        for colour, animal in seeing.ANIMALS.items()
        for ending in ("png", "jpg")
    }

    def random_target(path: Path) -> Path:
        return vision.write_target(path, vision.CLIPPED, random)

    def planted_target(path: Path) -> Path:
        return vision.write_target(path, vision.PLANTED, planted)

    yield Case("random, with bounds", random_target, {"image_tokens": seeing.TOKENS}, ())
    tokens = {"image_tokens": seeing.FEW_TOKENS}
    yield Case("planted", planted_target, tokens, _asked(files))


def _audio(folder: Path) -> Iterator[Case]:
    clips = folder / "clips"
    hearing.make_clips(clips)
    random = audio.random_tower(audio.CLIPPED, seed=SEED)
    planted = audio.planted_tower({t: seeing.token_of(a) for t, a in hearing.HERD.items()})
    files = {
        clips / f"{tone}{suffix}.wav": animal
        for tone, animal in hearing.HERD.items()
        for suffix in ("", "-stereo")
    }

    def random_target(path: Path) -> Path:
        return audio.add_tower(audio.listening(path), audio.CLIPPED, random)

    def planted_target(path: Path) -> Path:
        return audio.add_tower(audio.listening(path), audio.PLANTED, planted)

    options = {"audio_seconds": hearing.SECONDS, "vision": False}
    yield Case("random, with bounds", random_target, options, ())
    yield Case("planted", planted_target, options, _asked(files))


if __name__ == "__main__":
    main()
