"""Our audio tower and adapter against unmodified transformers, through the golden file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.contract.names import Section
from exporter.lowering.signatures import parameter_specs
from exporter.model.audio.layers import EncoderLayer, before_the_clip
from exporter.model.audio.tower import AudioAdapter, AudioTower
from exporter.model.clipped_linear import ClippedLinear
from exporter.weights.audio_parameters import audio_parameter_specs
from tests.audio.conftest import Golden
from tests.audio.eager import EagerAudio, load_audio
from tests.audio.reference_features import LENGTHS

TOLERANCE = 2e-6
"""Of the largest magnitude. Both sides are float32 and differ in the order of sums only."""

MISTAKE = 1e-3
"""What any of the mistakes below moves at the least."""

CLIPS = tuple(LENGTHS)

Mistake = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    torch.set_num_threads(1)
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def eager(audio_target: Path) -> EagerAudio:
    return load_audio(audio_target)


def clip(golden: Golden, name: str) -> tuple[Tensor, Tensor]:
    return tuple(torch.from_numpy(golden[f"{name}.{part}"])[None] for part in ("frames", "mask"))  # type: ignore[return-value]


def error(ours: Tensor, reference: NDArray[Any]) -> float:
    expected = torch.from_numpy(reference)
    assert ours.shape == expected.shape
    return float((ours - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", CLIPS)
def test_tower_is_transformers(eager: EagerAudio, audio_golden: Golden, name: str) -> None:
    """Valid tokens come first, and the mask says how many they are: a quarter of the frames."""
    found = eager.tower(*clip(audio_golden, name))
    count = -(-LENGTHS[name] // 4)
    assert found.mask.tolist() == [[index < count for index in range(found.mask.shape[1])]]
    assert error(found.features[0, :count], audio_golden[f"{name}.features"]) <= TOLERANCE


@pytest.mark.parametrize("name", CLIPS)
def test_adapter_is_transformers(eager: EagerAudio, audio_golden: Golden, name: str) -> None:
    features = torch.from_numpy(audio_golden[f"{name}.features"])[None]
    mask = torch.ones(features.shape[:2], dtype=torch.bool)
    assert error(eager.adapter(features, mask)[0], audio_golden[f"{name}.embeddings"]) <= TOLERANCE
    assert not eager.adapter(features, ~mask).any()


def moved(tower: AudioTower, golden: Golden, name: str) -> float:
    """How far a tower is from transformers."""
    reference = golden[f"{name}.features"]
    found = tower(*clip(golden, name)).features[0, : len(reference)]
    return error(found, reference)


@pytest.mark.parametrize("name", ["word", "phrase", "sentence"])
def test_padding_is_never_looked_at(eager: EagerAudio, audio_golden: Golden, name: str) -> None:
    """Whatever lies there; and the clips are such that looking would show."""
    frames, mask = clip(audio_golden, name)
    count = len(audio_golden[f"{name}.features"])
    expected = eager.tower(frames, mask).features[:, :count]
    dirty = frames.clone()
    dirty[~mask] = 37.0
    assert torch.equal(eager.tower(dirty, mask).features[:, :count], expected)
    seen = eager.tower(frames, torch.ones_like(mask)).features[0, :count]
    assert error(seen, audio_golden[f"{name}.features"]) > MISTAKE


def changed(eager: EagerAudio, values: Mapping[str, Tensor], **settings: float) -> AudioTower:
    """The tower with other weights or settings."""
    tower = AudioTower(replace(eager.config, **settings)).eval()  # type: ignore[arg-type]
    tower.load_state_dict({**eager.tower.state_dict(), **values})
    return tower


SETTINGS = {
    "logit_cap": 50.0,
    "gradient_clipping": 1e10,
    "residual_weight": 0.5,
    "rms_norm_eps": 1e-6,
}
"""What a tower has that does as E2B's does, whatever its configuration says."""


@pytest.mark.parametrize(("setting", "value"), SETTINGS.items())
def test_every_setting_shows(
    eager: EagerAudio, audio_golden: Golden, setting: str, value: float
) -> None:
    assert moved(changed(eager, {}, **{setting: value}), audio_golden, "sentence") > MISTAKE


def flipped_distances(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n: t.flip(-1) for n, t in weights.items() if n.endswith("relative_keys")}


def no_distances(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n: torch.zeros_like(t) for n, t in weights.items() if n.endswith("relative_keys")}


def flipped_taps(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = [n for n in weights if ".layers.1" in f".{n}" and ".taps." in n]
    return dict(zip(names, [weights[n] for n in reversed(names)], strict=True))


def channels_outside(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The kernels of the second convolution as checkpoints have them."""
    name = "subsample_conv_projection.layer1.conv.weight"
    kernels = weights[name].reshape(len(weights[name]), 9, -1)
    return {name: kernels.transpose(1, 2).reshape(weights[name].shape)}


def time_for_frequency(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    name = "subsample_conv_projection.layer0.conv.weight"
    return {name: weights[name].reshape(-1, 3, 3).transpose(1, 2).reshape(-1, 9)}


@pytest.mark.parametrize(
    "mistake",
    [flipped_distances, no_distances, flipped_taps, channels_outside, time_for_frequency],
)
def test_every_layout_shows(eager: EagerAudio, audio_golden: Golden, mistake: Mistake) -> None:
    values = mistake(eager.tower.state_dict())
    assert values
    assert moved(changed(eager, values), audio_golden, "sentence") > MISTAKE


def test_the_twelfth_token_before_is_not_seen(eager: EagerAudio) -> None:
    """Nor is one before the clip: it would be of the softmax with a score of 0."""
    hidden = before_the_clip(3, 12)[0, :, 0] < 0
    assert hidden.sum(-1).tolist() == [11, 10, 9]
    layer = eager.tower.layers[0]
    assert isinstance(layer, EncoderLayer)
    x = torch.randn(1, 20, eager.config.hidden_size, generator=torch.Generator().manual_seed(1))
    other = x.clone()
    other[:, 3] += 1.0
    masks = before_the_clip(20, 12)
    differs = (layer.self_attn(x, masks) != layer.self_attn(other, masks)).any(-1)[0]
    assert differs.nonzero()[:, 0].tolist() == list(range(3, 15))


@pytest.mark.parametrize("kind", ["clipped"], indirect=True, scope="session")
def test_every_bound_of_every_clip_bites(eager: EagerAudio, audio_golden: Golden) -> None:
    """In some layer a tower without it gives other features: of two around a SiLU only one can."""
    frames, mask = clip(audio_golden, "whole")
    bites: dict[str, bool] = {}
    expected = eager.tower(frames, mask).features
    clips = [(n, m) for n, m in eager.tower.named_modules() if isinstance(m, ClippedLinear)]
    assert len(clips) == 10 * eager.config.layer_count
    for name, module in clips:
        for bound in ("input_min", "input_max", "output_min", "output_max"):
            parameter = module.get_parameter(bound)
            kept = parameter.clone()
            parameter.mul_(1e6)
            without = eager.tower(frames, mask).features
            parameter.copy_(kept)
            kind = f"{name.partition('.')[2].lstrip('0123456789.')}.{bound}".replace(
                "ward2", "ward1"
            )
            bites[kind] = bites.get(kind, False) or not torch.equal(without, expected)
    assert len(bites) == 8 * 4
    assert [kind for kind, found in bites.items() if not found] == []


def test_specs_are_the_modules_parameters(eager: EagerAudio) -> None:
    """In names, shapes and types."""
    specs = audio_parameter_specs(eager.config, 128)
    with torch.device("meta"):
        tower, adapter = AudioTower(eager.config), AudioAdapter(eager.config, 128)
    assert sorted(parameter_specs(tower).items()) == sorted(specs[Section.AUDIO_ENCODER].items())
    assert parameter_specs(adapter) == specs[Section.AUDIO_ADAPTER]


def test_end_of_a_clip_is_its_tokens_embedding(eager: EagerAudio, audio_target: Path) -> None:
    """As the text model scales it."""
    from safetensors.torch import load_file

    table = load_file(audio_target / "model.safetensors")[
        "model.language_model.embed_tokens.weight"
    ]
    expected = table[65].float() * 128**0.5
    assert np.array_equal(eager.end[0, 0], expected.numpy())
