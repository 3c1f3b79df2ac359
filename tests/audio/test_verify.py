"""``verify`` of bundles that hear: a sound one passes its rungs, one with a fault fails at the right one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.contract.audio import AudioContract
from exporter.verify.ladder import RUNGS
from exporter.verify.rung import Verdict
from exporter.verify.rungs import contract, pictures, sound_replies, sounds, tower, weights
from exporter.verify.rungs.soft_tokens import PADDING
from exporter.verify.sounds import asked_sounds, sample_sounds
from runtime_py.chat.media import Medium
from runtime_py.media.log_mel import log_mel
from runtime_py.media.sound_file import sound_samples
from tests.audio.bundles import FRAMES
from tests.audio.faulty_bundles import SCALED, SoundFault
from tests.faulty_towers import spoil
from tests.verify.judging import evidence_of, figure, judge, judged, outside

FULL, PADDED = f"{FRAMES} frames, full: features", f"{FRAMES} frames, padded: features"
TOKENS = 50 + 17
"""Of a clip that fills the graph and one of 66 frames."""

REAL = AudioContract(3000, 128, 4, 100, 1536, 1536)


@pytest.mark.slow
@pytest.mark.parametrize("random_pair", ["own"], indirect=True)
def test_a_sound_bundle_passes(random_pair: tuple[Path, Path]) -> None:
    """Clips that bite, padding, and replies of engine and transformers with MTP off and on."""
    target, bundle = random_pair
    with evidence_of(bundle, target) as evidence:
        found = judge(evidence, contract, weights, tower, pictures, sounds, sound_replies)
        heard = evidence.medium(Medium.AUDIO)
        assert heard is not None
        assert 0 < heard.reply_noise < 0.01
    assert found.pop("pictures").note == "the bundle takes no pictures"
    assert {key for key, rung in found.items() if rung.verdict is not Verdict.PASS} == set()
    assert figure(found["tower"], "soft tokens of sounds") == TOKENS
    assert figure(found["sounds"], "sounds that leave padding") == 1
    assert figure(found["sounds"], FULL) > 0
    replies = found["sound-replies"]
    assert figure(replies, "answers compared") == 3
    assert figure(replies, "not transformers' reply") == 0
    assert figure(replies, "MTP on: tokens") > 0


@pytest.mark.slow
def test_a_sound_int8_bundle_passes(int8_pair: tuple[Path, Path]) -> None:
    """What roundings move is allowed for."""
    target, bundle = int8_pair
    found = judged(bundle, target, weights, sounds)
    assert {rung.verdict for rung in found.values()} == {Verdict.PASS}
    assert figure(found["sounds"], FULL) > 1e-3, "roundings must show"
    assert figure(found["weights"], "tensors compared") > 300


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "named", "wrong"),
    [
        (SoundFault.PADDING, None, {PADDING, PADDED}),
        (SoundFault.END, "audio.end_of_audio.embedding: ", {"end of a sound"}),
        (SoundFault.SCALE, f"audio.{SCALED}: ", set()),
    ],
)
def test_faults(
    int8_pair: tuple[Path, Path],
    tmp_path: Path,
    fault: SoundFault,
    named: str | None,
    wrong: set[str],
) -> None:
    """Wrong weights are named; the graphs, which use the stored weights on both sides, are right.

    That padding is heard shows without a checkpoint, too.
    """
    from quantize.builtin_recipes import RECIPES

    target, sound = int8_pair
    bundle = spoil(sound, target, fault.value, tmp_path, RECIPES["int8"])
    found = judged(bundle, target, weights, sounds)
    problems = found["weights"].problems
    assert len(problems) == (named is not None)
    assert all(problem.startswith(str(named)) for problem in problems)
    assert outside(found["sounds"]) == wrong
    assert outside(judged(bundle, None, sounds)["sounds"]) == wrong & {PADDING}


@pytest.mark.slow
def test_a_target_with_another_tower(int8_pair: tuple[Path, Path], tmp_path: Path) -> None:
    from tests.audio.targets import CLIPPED, add_tower, listening, random_tower

    other = {**CLIPPED, "output_proj_dims": 32}
    target = add_tower(listening(tmp_path / "target"), other, random_tower(other, seed=0))
    (problem,) = judged(int8_pair[1], target, contract)["contract"].problems
    assert problem.startswith("sound: the bundle has AudioContract(frames=200, mel_bins=128")
    assert "width=32" in problem
    (problem,) = judged(int8_pair[1], listening(tmp_path / "deaf"), contract)["contract"].problems
    assert problem == "sound: the target has no audio tower, and the bundle was made from one"


@pytest.mark.parametrize("agreed", [AudioContract(FRAMES, 128, 4, 100, 24, 128), REAL])
def test_sounds_that_are_drawn(agreed: AudioContract) -> None:
    """One fills the graph, one leaves padding in the middle of a soft token's frames; one is cut in two."""
    full, part = (len(one.frames) for one in sample_sounds(agreed))
    assert full == agreed.frames
    assert 0 < part < full
    assert part % agreed.frames_per_token == agreed.frames_per_token // 2
    short, long = asked_sounds(agreed)
    assert [piece.fills for piece in short.pieces(agreed)] == [False]
    assert [piece.fills for piece in long.pieces(agreed)] == [True, False]
    np.testing.assert_array_equal(log_mel(sound_samples(long.wav())), long.frames)


def test_rungs_about_sounds_are_part_of_the_ladder() -> None:
    assert {tower, sounds, sound_replies} <= set(RUNGS)
