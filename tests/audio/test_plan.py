"""Whether a bundle will take sound, and why not; what is missing is named before anything is lowered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.contract.names import Section
from exporter.errors import CheckpointError, ConfigError, RecipeError
from exporter.options import ExportOptions, OutputFormat
from exporter.plan.export_plan import ExportPlan
from quantize.builtin_recipes import RECIPES
from quantize.recipe import Recipe, Rule
from quantize.storage import Storage
from tests.audio.targets import ADAPTER, CLIPPED, TOWER, add_tower, listening, random_tower
from tests.checkpoints.variants import save_variant
from tests.vision.test_plan import planned as planned_about
from tests.vision.test_plan import without

INT8 = ExportOptions(RECIPES["int8"])


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = listening(tmp_path_factory.mktemp("hearing"))
    return add_tower(folder, CLIPPED, random_tower(CLIPPED, seed=5))


def planned(target: Path, options: ExportOptions, output: Path) -> tuple[ExportPlan, list[str]]:
    return planned_about(target, options, output, "sound")


def test_a_checkpoint_that_hears_becomes_a_bundle_that_hears(hearing: Path, tmp_path: Path) -> None:
    plan, notes = planned(hearing, INT8, tmp_path / "x.litertlm")
    assert notes == []
    assert plan.media.sound is not None
    assert (plan.media.sound.frames, plan.media.sound.tokens) == (3000, 750)
    assert plan.audio is not None
    assert list(plan.audio.weights) == list(plan.media.sound.section_signatures())
    assert plan.media.pictures is None  # its tower knows too few places
    name = "audio.layers.0.self_attn.q_proj.linear.weight"
    assert plan.options.recipe.storage(name) is Storage.INT8


def test_seconds_are_the_users_or_the_processors(hearing: Path, tmp_path: Path) -> None:
    target = save_variant(tmp_path / "target", dict, source=hearing)
    processor = {"audio_seq_length": 188, "audio_ms_per_token": 40}
    (target / "processor_config.json").write_text(json.dumps(processor))
    for seconds, frames in ((None, 800), (3, 300)):
        options = replace(INT8, audio_seconds=seconds)
        plan, _ = planned(target, options, tmp_path / "x.litertlm")
        assert plan.media.sound is not None
        assert plan.media.sound.frames == frames


@pytest.mark.parametrize(
    ("options", "suffix", "why"),
    [
        (replace(INT8, audio=False), ".litertlm", "--no-audio leaves the tower out"),
        (replace(INT8, format=OutputFormat.ONNX), "", "ONNX folders hold the text model only"),
    ],
)
def test_what_was_left_out_is_said(
    hearing: Path, tmp_path: Path, options: ExportOptions, suffix: str, why: str
) -> None:
    plan, notes = planned(hearing, options, tmp_path / f"x{suffix}")
    assert plan.audio is None
    assert notes == [f"the bundle takes no sound: {why}"]


def test_a_template_without_a_place_for_sound(hearing: Path, tmp_path: Path) -> None:
    target = save_variant(tmp_path / "target", dict, source=hearing)
    template = target / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|audio|>", ""))
    plan, notes = planned(target, INT8, tmp_path / "x.litertlm")
    assert plan.audio is None
    why = "the chat template has no place for sound (<|audio|>)"
    assert notes == [f"the bundle takes no sound: {why}"]
    with pytest.raises(ConfigError, match="so --audio-seconds is of no use"):
        planned(target, replace(INT8, audio_seconds=5), tmp_path / "x.litertlm")


@pytest.mark.parametrize("end", [2000, [65]])
def test_a_tokenizer_without_tokens_for_sound(hearing: Path, tmp_path: Path, end: object) -> None:
    target = save_variant(tmp_path / "target", dict, source=hearing)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, "eoa_token_index": end}))
    _, notes = planned(target, INT8, tmp_path / "x.litertlm")
    assert "no tokens for the begin and end of one (boa_token_id, eoa_token_index)" in notes[0]


def test_what_a_tower_lacks_is_named(hearing: Path, tmp_path: Path) -> None:
    """Clips, kernels, and what other weights are made of; all at once."""
    names = {
        f"{TOWER}layers.1.lconv1d.linear_end.output_max": "[]",
        f"{TOWER}layers.0.lconv1d.depthwise_conv1d.weight": "[32, 1, 5]",
        f"{TOWER}layers.1.self_attn.relative_k_proj.weight": "[32, 32]",
        f"{TOWER}layers.1.self_attn.per_dim_scale": "[16]",
        f"{TOWER}subsample_conv_projection.layer1.conv.weight": "[4, 128, 3, 3]",
        f"{TOWER}output_proj.bias": "[24]",
        ADAPTER: "[128, 24]",
    }
    target = save_variant(tmp_path / "target", without(*names), source=hearing)
    with pytest.raises(CheckpointError) as refusal:
        planned(target, INT8, tmp_path / "x.litertlm")
    for name, shape in names.items():
        assert f"{name} is missing, expected shape {shape}" in str(refusal.value)


def test_frames_that_the_engine_does_not_make(hearing: Path, tmp_path: Path) -> None:
    target = save_variant(tmp_path / "target", dict, source=hearing)
    settings = {"feature_extractor": {"feature_size": 80, "sampling_rate": 8000}}
    (target / "processor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match="feature_size: expected 128") as refusal:
        planned(target, INT8, tmp_path / "x.litertlm")
    assert "sampling_rate: expected 16000" in str(refusal.value)
    plan, _ = planned(target, replace(INT8, audio=False), tmp_path / "x.litertlm")
    assert plan.audio is None


def test_kernels_of_nine_numbers_are_no_int4(hearing: Path, tmp_path: Path) -> None:
    """A rule of one's own says what it cannot be used for, and what can be."""
    options = ExportOptions(Recipe("own", "", (Rule("audio.*", Storage.INT4),)))
    with pytest.raises(RecipeError, match=r"layer0\.conv\.weight has rows of 9 elements"):
        planned(hearing, options, tmp_path / "x.litertlm")


def test_end_of_sound_comes_last(hearing: Path, tmp_path: Path) -> None:
    plan, _ = planned(hearing, INT8, tmp_path / "x.litertlm")
    assert plan.audio is not None
    assert plan.audio.request.end == (Section.END_OF_AUDIO, "end_of_audio")
