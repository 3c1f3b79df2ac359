"""``verify`` of bundles that see: a sound one passes its rungs, one with a fault fails at the right one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from exporter.verify.ladder import RUNGS
from exporter.verify.rung import Rung, Verdict
from exporter.verify.rungs import contract, picture_replies, pictures, tower, weights
from exporter.verify.rungs.soft_tokens import PADDING
from exporter.verify.rungs.tower import TowerSides, compare_towers
from exporter.verify.sides.tower_golden import Encoded
from runtime_py.chat.media import Medium
from tests.faulty_towers import spoil
from tests.once import made_once, shared_folder
from tests.verify.judging import figure, judged, outside
from tests.vision.faulty_bundles import CLIP, SCALED, PictureFault

FULL, PADDED = "16 tokens, full: features", "16 tokens, padded: features"
END = "end of a picture"


@pytest.mark.slow
def test_a_sound_bundle_passes(random_pair: tuple[Path, Path]) -> None:
    """Clips that bite, padding, and replies of engine and transformers with MTP off and on.

    Of the second pair, which has another embedding at the end of a picture, the replies alone.
    """
    target, bundle = random_pair
    first = "own" in bundle.name
    others = (contract, weights, tower, pictures) if first else ()
    found = judged(bundle, target, *others, picture_replies)
    assert {key for key, rung in found.items() if rung.verdict is not Verdict.PASS} == set()
    if first:
        assert figure(found["tower"], "soft tokens of pictures") == 16 + 6
        assert figure(found["pictures"], "pictures that leave padding") == 1
    replies = found["picture-replies"]
    assert figure(replies, "answers compared") == 3
    assert figure(replies, "not transformers' reply") == 0
    assert figure(replies, "MTP on: tokens") > 0


@pytest.fixture(scope="module")
def int8_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The target of the first random pair and its bundle in int8."""
    from tests.vision.bundles import TOKENS, exported
    from tests.vision.targets import CLIPPED, random_tower, write_target

    folder = shared_folder(tmp_path_factory)
    target = made_once(
        folder / "seeing-own", lambda path: write_target(path, CLIPPED, random_tower(CLIPPED, 3))
    )
    bundle = made_once(
        folder / "seeing-int8.litertlm", lambda path: exported(target, path, "int8", TOKENS)
    )
    return target, bundle


@pytest.mark.slow
def test_a_sound_int8_bundle_passes(int8_pair: tuple[Path, Path]) -> None:
    """What roundings move is allowed for; without a checkpoint the engine is asked all the same."""
    target, bundle = int8_pair
    found = judged(bundle, target, weights, pictures)
    assert {rung.verdict for rung in found.values()} == {Verdict.PASS}
    assert figure(found["pictures"], FULL) > 1e-3, "roundings must show"
    alone = judged(bundle, None, pictures, picture_replies)
    assert {rung.verdict for rung in alone.values()} == {Verdict.PASS}
    assert alone["picture-replies"].note == "not compared with transformers: no --target given"


Spoiling = Callable[[PictureFault, str], tuple[Path, Path]]


@pytest.fixture(scope="module")
def spoilt(int8_pair: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Spoiling:
    """Bundles with a fault, and the target they are compared with."""

    @cache
    def make(fault: PictureFault, recipe: str) -> tuple[Path, Path]:
        from quantize.builtin_recipes import RECIPES

        target, sound = int8_pair
        folder = tmp_path_factory.mktemp(f"{fault.name}-{recipe}")
        return spoil(sound, target, fault.value, folder, RECIPES[recipe]), target

    return make


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["float32", "int8"])
@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        (PictureFault.PADDING, {PADDING, PADDED}),
        (PictureFault.SWAPPED, {FULL, PADDED}),
        (PictureFault.UNCLIPPED, {FULL, PADDED}),
    ],
)
def test_wrong_graphs(spoilt: Spoiling, fault: PictureFault, recipe: str, wrong: set[str]) -> None:
    """The weights are right; the noise of int8 hides nothing."""
    found = judged(*spoilt(fault, recipe), weights, pictures)
    assert found["weights"].verdict is Verdict.PASS
    assert outside(found["pictures"]) == wrong


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["float32", "int8"])
@pytest.mark.parametrize(
    ("fault", "named", "wrong"),
    [
        (PictureFault.BOUNDS, [f"{CLIP}.input_min", f"{CLIP}.output_max"], set()),
        (PictureFault.SCALE, [SCALED], set()),
        (PictureFault.END, ["end_of_vision.embedding"], {END}),
    ],
)
def test_wrong_weights(
    spoilt: Spoiling, fault: PictureFault, recipe: str, named: list[str], wrong: set[str]
) -> None:
    """They are named; the graphs, which use the stored weights on both sides, are right."""
    found = judged(*spoilt(fault, recipe), weights, pictures)
    problems = found["weights"].problems
    assert found["weights"].verdict is Verdict.FAIL
    for name in named:
        assert any(problem.startswith(f"vision.{name}: ") for problem in problems)
    assert outside(found["pictures"]) == wrong


@pytest.mark.slow
def test_padding_that_is_seen_shows_without_checkpoints(spoilt: Spoiling) -> None:
    bundle, _ = spoilt(PictureFault.PADDING, "int8")
    assert outside(judged(bundle, None, pictures)["pictures"]) == {PADDING}


@pytest.mark.slow
def test_a_target_with_another_tower(spoilt: Spoiling, tmp_path: Path) -> None:
    from tests.vision.targets import SMALL, random_tower, write_target

    bundle, _ = spoilt(PictureFault.END, "int8")
    settings = {**SMALL, "patch_size": 2}
    other = write_target(tmp_path / "target", settings, random_tower(settings, seed=0))
    (problem,) = judged(bundle, other, contract)["contract"].problems
    assert problem.startswith(
        "pictures: the bundle has VisionContract(image_tokens=(16,), patch_size=4"
    )
    assert "patch_size=2" in problem


def test_towers_that_differ() -> None:
    """In one soft token by a little, and in their number."""
    source = np.random.default_rng(0)
    features = source.standard_normal((6, 48)).astype(np.float32)
    other = features.copy()
    other[4] *= 1.0001
    right, wrong = Encoded(features, features), Encoded(other, features)
    pair, differing, fewer = (
        [right, right],
        [right, wrong],
        [Encoded(features[:5], features[:5])],
    )

    def found(
        ours: Sequence[Encoded], expected: Sequence[Encoded], moved: Sequence[Encoded]
    ) -> Rung:
        heard = TowerSides(Medium.AUDIO, pair, pair, pair)
        return compare_towers([TowerSides(Medium.IMAGE, ours, expected, moved), heard])

    assert found(pair, pair, pair).verdict is Verdict.PASS
    assert outside(found(pair, differing, pair)) == {"features of pictures, worst soft token"}
    assert found(pair, differing, [wrong, wrong]).verdict is Verdict.PASS
    assert found(fewer, [right], [right]).problems == ("picture 1: 5 soft tokens instead of 6",)


def test_rungs_about_pictures_are_part_of_the_ladder() -> None:
    assert {tower, pictures, picture_replies} <= set(RUNGS)
