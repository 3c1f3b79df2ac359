"""Whether a bundle will take pictures, and why not; what is missing is named before anything is lowered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from exporter.checkpoints.assets.picture_settings import PICTURES, check_picture_settings
from exporter.checkpoints.checkpoint import PREPROCESSOR, PROCESSOR, open_checkpoint
from exporter.checkpoints.configs.vision import parse_vision
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import Accelerator, Section
from exporter.errors import CheckpointError, ConfigError, MtpExportError, RecipeError
from exporter.options import ExportOptions, OutputFormat
from exporter.plan.export_plan import ExportPlan, make_plan
from exporter.plan.vision import fitting_budgets
from exporter.progress import SilentReporter
from quantize.builtin_recipes import FLOAT32, RECIPES, covering_towers
from quantize.recipe import Algorithm, Recipe, Rule
from quantize.storage import Storage
from tests.bundles import TINY_TARGET
from tests.checkpoints.variants import save_variant
from tests.vision.targets import ADAPTER, CLIPPED, TOWER, Tensors, random_tower, write_target

SETTINGS = {**CLIPPED, "position_embedding_size": 1024}
"""Enough places for the budgets that are the default."""


KINDS = ("vision", "audio")


class Notes(SilentReporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeing")
    return write_target(folder, SETTINGS, random_tower(SETTINGS, seed=5))


def planned(
    target: Path, options: ExportOptions, output: Path, about: str = "pictures"
) -> tuple[ExportPlan, list[str]]:
    """What will be made, and what was told of it."""
    notes = Notes()
    with TensorReader() as reader:
        plan = make_plan(Pair.of(open_checkpoint(target), None), output, options, reader, notes)
    return plan, [note for note in notes.told if about in note]


INT8 = ExportOptions(RECIPES["int8"])


def test_a_checkpoint_that_sees_becomes_a_bundle_that_sees(seeing: Path, tmp_path: Path) -> None:
    plan, notes = planned(seeing, INT8, tmp_path / "x.litertlm")
    assert notes == []
    assert plan.media.pictures is not None
    assert plan.media.pictures.image_tokens == (70, 140, 280)
    assert set(plan.vision.weights) == set(plan.media.pictures.section_signatures())  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "suffix", "why"),
    [
        (replace(INT8, vision=False), ".litertlm", "--no-vision leaves the tower out"),
        (replace(INT8, format=OutputFormat.ONNX), "", "ONNX folders hold the text model only"),
    ],
)
def test_what_was_left_out_is_said(
    seeing: Path, tmp_path: Path, options: ExportOptions, suffix: str, why: str
) -> None:
    plan, notes = planned(seeing, options, tmp_path / f"x{suffix}")
    assert plan.vision is None
    assert notes == [f"the bundle takes no pictures: {why}"]


def test_a_template_without_a_place_for_pictures(tmp_path: Path) -> None:
    """As the tiny pair's: its bundle is the one of a text model."""
    plan, notes = planned(TINY_TARGET, INT8, tmp_path / "x.litertlm")
    assert plan.vision is None
    assert notes == [
        "the bundle takes no pictures: the chat template has no place for pictures (<|image|>)"
    ]
    assert plan.options.recipe == RECIPES["int8"]


def test_a_config_whose_tower_was_not_saved(seeing: Path, tmp_path: Path) -> None:
    def text_only(tensors: Tensors) -> Tensors:
        return {n: t for n, t in tensors.items() if not n.startswith((TOWER, ADAPTER))}

    target = save_variant(tmp_path / "target", text_only, source=seeing)
    plan, notes = planned(target, INT8, tmp_path / "x.litertlm")
    assert plan.vision is None
    assert notes == []  # there is no tower to be missed
    with pytest.raises(
        ConfigError, match=r"config\.json describes, so --image-tokens is of no use"
    ):
        planned(target, replace(INT8, image_tokens=(70,)), tmp_path / "x.litertlm")


def without(*names: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {n: t for n, t in tensors.items() if n not in names}


def test_what_a_tower_lacks_is_named(seeing: Path, tmp_path: Path) -> None:
    """Bounds of clips included; all at once."""
    bound = f"{TOWER}encoder.layers.1.mlp.up_proj.output_max"
    norm = f"{TOWER}encoder.layers.2.self_attn.k_norm.weight"
    target = save_variant(tmp_path / "target", without(bound, norm, ADAPTER), source=seeing)
    with pytest.raises(CheckpointError) as refusal:
        planned(target, INT8, tmp_path / "x.litertlm")
    for name, shape in ((bound, "[]"), (norm, "[16]"), (ADAPTER, "[128, 48]")):
        assert f"{name} is missing, expected shape {shape}" in str(refusal.value)


def test_a_bound_that_is_no_number(seeing: Path, tmp_path: Path) -> None:
    """Infinite ones mean that nothing is clipped; a GPU's have to be within float16's range."""
    on_gpu = replace(INT8, accelerator=Accelerator.GPU)
    name = f"{TOWER}encoder.layers.1.mlp.up_proj.output_max"
    values = {}
    for case, value, options in (
        ("inf", "inf", INT8),
        ("inf on a GPU", "-inf", on_gpu),
        ("nan", "nan", INT8),
    ):
        target = tmp_path / case
        tensors = load_file(seeing / "model.safetensors")
        tensors[name].fill_(float(value))
        write_target(target, SETTINGS, tensors)
        save_file(tensors, target / "model.safetensors", {"format": "pt"})
        with TensorReader() as reader:
            pair = Pair.of(open_checkpoint(target), None)
            plan = make_plan(pair, tmp_path / "x.litertlm", options, reader, SilentReporter())
            assert plan.vision is not None
            weight = plan.vision.weights[Section.VISION_ENCODER]["layers.1.mlp.up_proj.output_max"]
            assert weight.ready is not None
            try:
                values[case] = next(weight.ready.blocks()).data
            except MtpExportError as error:
                values[case] = str(error).encode()
    assert values["inf"] == b"\xff\xff\x7f\x7f"  # the largest float32
    assert np.frombuffer(values["inf on a GPU"], np.float32) == -65504
    assert f"{name} is NaN".encode() in values["nan"]


def test_a_tower_saved_without_the_wrappers_of_its_layers(seeing: Path, tmp_path: Path) -> None:
    """Which transformers would pass over, leaving random weights."""

    def unwrap(tensors: Tensors) -> Tensors:
        return {name.replace(".linear.weight", ".weight"): t for name, t in tensors.items()}

    target = save_variant(tmp_path / "target", unwrap, source=seeing)
    with pytest.raises(CheckpointError, match="Gemma4ClippableLinear was replaced") as refused:
        planned(target, INT8, tmp_path / "x.litertlm")
    assert "give --no-vision" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    planned(target, replace(INT8, vision=False), tmp_path / "x.litertlm")


def test_places_stay_float32_on_a_gpu(seeing: Path, tmp_path: Path) -> None:
    """Whatever the recipe: see ``exporter.weights.vision``."""
    name = "patch_embedder.position_embedding_table"
    for accelerator, storage in ((Accelerator.CPU, None), (Accelerator.GPU, Storage.FLOAT32)):
        options = replace(INT8, accelerator=accelerator)
        plan, _ = planned(seeing, options, tmp_path / "x.litertlm")
        assert plan.vision is not None
        ready = plan.vision.weights[Section.VISION_ENCODER][name].ready
        assert (ready and ready.storage) == storage


RIGHT = {
    "do_convert_rgb": True, "do_normalize": False, "do_rescale": True, "do_resize": True,
    "image_mean": [0.0, 0.0, 0.0], "image_processor_type": "Gemma4ImageProcessor",
    "image_std": [1.0, 1.0, 1.0], "max_soft_tokens": 280, "patch_size": 4, "pooling_kernel_size": 3,
    "resample": 3, "rescale_factor": 0.00392156862745098,
}  # fmt: skip
"""As transformers saves it, for a tower with patches of 4 pixels."""


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, ""),
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}, ""),  # without do_normalize
        ({"do_normalize": True}, ""),  # by 0 and 1
        ({"rescale_factor": 1}, "rescale_factor is 1, expected 1/255"),
        ({"rescale_factor": 10**400}, "expected 1/255"),
        ({"rescale_factor": "1/255"}, "rescale_factor is '1/255', expected 1/255"),
        ({"do_resize": False}, "do_resize is False, expected True"),
        ({"do_rescale": False}, "do_rescale is False, expected True"),
        ({"patch_size": 16}, "patch_size is 16, expected 4"),
        ({"pooling_kernel_size": 2}, "pooling_kernel_size is 2, expected 3"),
        (
            {"do_normalize": True, "image_mean": [0.5, 0.5, 0.5]},
            "image_mean is [0.5, 0.5, 0.5] with do_normalize, expected 0 for each colour",
        ),
        ({"do_normalize": True, "image_std": 0.5}, "image_std is 0.5 with do_normalize"),
    ],
)
@pytest.mark.parametrize("file", [PROCESSOR, PREPROCESSOR])
def test_pictures_that_the_engine_would_prepare_otherwise(
    seeing: Path, tmp_path: Path, file: str, changed: dict[str, object], told: str
) -> None:
    """All settings are looked at, in the file of today and in that of earlier versions."""
    settings = {**RIGHT, **changed}
    (tmp_path / file).write_text(
        json.dumps({PICTURES: settings} if file == PROCESSOR else settings)
    )
    config = parse_vision(open_checkpoint(seeing).config, "")
    assert config is not None
    checkpoint = replace(open_checkpoint(seeing), folder=tmp_path)
    if not told:
        check_picture_settings(checkpoint, config)
        return
    with pytest.raises(CheckpointError) as refusal:
        check_picture_settings(checkpoint, config)
    assert told in str(refusal.value)
    assert file in str(refusal.value)
    assert "leave the tower out with --no-vision" in str(refusal.value)


def test_settings_are_looked_at_before_anything_is_lowered(seeing: Path, tmp_path: Path) -> None:
    target = save_variant(tmp_path / "target", dict, source=seeing)
    (target / PREPROCESSOR).write_text(
        json.dumps({**RIGHT, "do_resize": False, "rescale_factor": 1})
    )
    with pytest.raises(CheckpointError, match="2 problems") as refusal:
        planned(target, INT8, tmp_path / "x.litertlm")
    assert "do_resize is False" in str(refusal.value)
    planned(target, replace(INT8, vision=False), tmp_path / "x.litertlm")


def test_a_tower_that_knows_too_few_places(seeing: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1200 patches long, and this tower knows 1024"):
        planned(seeing, replace(INT8, image_tokens=(70, 400)), tmp_path / "x.litertlm")


def test_default_budgets_are_those_that_fit(seeing: Path, tmp_path: Path) -> None:
    """The tiny pair's tower knows 16 places, too few for any: pictures are left out, not refused."""
    plan, _ = planned(seeing, INT8, tmp_path / "x.litertlm")
    assert plan.vision is not None
    smaller = replace(plan.vision.request.config, position_count=600)
    assert fitting_budgets(smaller) == (70, 140)
    template = TINY_TARGET.parent / "tools" / "chat_template.jinja"
    options = replace(INT8, chat_template=template)
    plan, notes = planned(TINY_TARGET, options, tmp_path / "y.litertlm")
    assert plan.vision is None
    assert any("the tower knows 16 places, too few" in note for note in notes)


def test_a_recipe_that_says_nothing_of_towers_means_int8() -> None:
    assert covering_towers(FLOAT32, KINDS) == FLOAT32
    own = Recipe("own", "", (Rule("vision.*", Storage.INT4), Rule("target.*", Storage.INT8)))
    assert covering_towers(own, KINDS).rules == (*own.rules, Rule("audio.*", Storage.INT8))
    covering = covering_towers(RECIPES["int4"], KINDS)
    for name in ("vision.layers.0.mlp.up_proj", "audio.output_proj.weight"):
        assert covering.storage(name) is Storage.INT8
    assert covering_towers(RECIPES["int4"], ()) == RECIPES["int4"]


def test_gptq_is_for_what_sees_a_text(seeing: Path, tmp_path: Path) -> None:
    rule = Rule("vision.*", Storage.INT8, Algorithm.GPTQ)
    text = tmp_path / "text.txt"
    text.write_text("The fox eats berries. " * 50)
    options = ExportOptions(Recipe("own", "", (rule,)), calibration=text)
    with pytest.raises(RecipeError, match="sees no text, so gptq has no inputs") as refused:
        planned(seeing, options, tmp_path / "x.litertlm")
    assert str(refused.value).count("mlp.up_proj.linear.weight") == 1  # for all layers
