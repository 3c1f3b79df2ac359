"""Which drafter belongs to a target: by Google's names, model cards, folders side by side, and `tune`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.checkpoints.checkpoint import TUNING, resolve
from exporter.checkpoints.drafter_search import drafter_of, find_drafter
from exporter.checkpoints.named_target import locate_target
from exporter.errors import CheckpointError, ConfigError
from tests.bundles import ROOT, TINY_DRAFTER, TINY_TARGET
from tests.checkpoints.written_configs import PUBLISHED, Json

TINY_ADAPTER = ROOT / "checkpoints" / "tiny" / "tools"
E2B, E2B_DRAFTER = PUBLISHED["e2b"]
E4B, E4B_DRAFTER = PUBLISHED["e4b"]
CARD = "---\nlicense: gemma\nbase_model:\n- {}\n---\n# A model\n"


def adapter_json(base: str | None) -> str:
    """What PEFT writes beside an adapter, of another base."""
    written = json.loads((TINY_ADAPTER / "adapter_config.json").read_text())
    return json.dumps({**written, "base_model_name_or_path": base})


def no_hub(name: str, revision: str | None) -> tuple[Path, str]:
    raise AssertionError(f"asked the hub for {name}")


# Of the hub, by its cache.


class Cache:
    """The hub's cache as huggingface_hub lays it out."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def add(self, name: str, files: dict[str, str]) -> None:
        """Keep some files of a model."""
        folder = self.home / "hub" / f"models--{name.replace('/', '--')}"
        commit = f"{len(name):040x}"
        snapshot = folder / "snapshots" / commit
        for made in (snapshot, folder / "refs"):
            made.mkdir(parents=True)
        (folder / "refs" / "main").write_text(commit)
        for file, content in files.items():
            (snapshot / file).write_text(content)


def config(written: Json) -> dict[str, str]:
    return {"config.json": json.dumps(written)}


ASK = """
import json, sys
from exporter.checkpoints.drafter_search import find_drafter
from exporter.errors import MtpExportError
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = find_drafter(name)
    except MtpExportError as error:
        found[name] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""

QAT = "google/gemma-4-E2B-it-qat-q4_0-unquantized"
FOUND = {
    "google/gemma-4-E2B-it": "google/gemma-4-E2B-it-assistant",
    QAT: f"{QAT}-assistant",
    "google/gemma-4-E2B-it-qat-mobile-transformers": f"{QAT}-assistant",
    "google/gemma-4-E4B-it-qat-w4a16-ct": "google/gemma-4-E4B-it-assistant",  # no other is there
    "me/medical": "google/gemma-4-E2B-it-assistant",  # by its card
    "me/medical-v2": "google/gemma-4-E2B-it-assistant",  # by its card, which names me/medical
    "me/saved": "google/gemma-4-E4B-it-assistant",  # by its config's _name_or_path
    "me/lora": "google/gemma-4-E2B-it-assistant",  # by its base, a repacked copy
    "me/own": "me/own-assistant",
    "me/merged": "google/gemma-4-E4B-it-assistant",  # by its shape: it says nothing
}


def test_by_the_names_of_the_hub(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for name, written in {
        "google/gemma-4-E2B-it": E2B,
        "google/gemma-4-E2B-it-assistant": E2B_DRAFTER,
        QAT: E2B,
        f"{QAT}-assistant": E2B_DRAFTER,
        "google/gemma-4-E2B-it-qat-mobile-transformers": E2B,
        "google/gemma-4-E4B-it-qat-w4a16-ct": E4B,
        "google/gemma-4-E4B-it-assistant": E4B_DRAFTER,
        "unsloth/gemma-4-E2B-it": E2B,
        "me/own": E2B,
        "me/own-assistant": E2B_DRAFTER,
        "me/merged": E4B,
        "me/swapped": {**E2B, "text_config": {**E2B["text_config"], "hidden_size": 1024}},
        "me/swapped-assistant": E4B_DRAFTER,
        "me/saved": {**E4B, "_name_or_path": "google/gemma-4-E4B-it"},
    }.items():
        cache.add(name, config(written))
    cache.add("me/medical", {**config(E2B), "README.md": CARD.format("google/gemma-4-E2B-it")})
    cache.add("me/medical-v2", {**config(E2B), "README.md": CARD.format("me/medical")})
    base = "unsloth/gemma-4-E2B-it-unsloth-bnb-4bit"
    cache.add("me/lora", {"adapter_config.json": adapter_json(base)})
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    names = [*FOUND, "me/swapped", "google/gemma-4-E2B-it-assistant"]
    done = subprocess.run(
        [sys.executable, "-c", ASK, *names],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in environment.items() if name != "HF_HUB_CACHE"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    swapped, drafter = (found.pop(name) for name in names[-2:])
    assert found == FOUND
    assert swapped == (
        "CheckpointError: me/swapped: no drafter was found; tried me/swapped-assistant (for a target of "
        "another shape). Name one behind TARGET, or give --no-drafter for a bundle without speculative "
        "decoding"
    )
    assert drafter.startswith("ConfigError: ")
    assert "this is a drafter" in drafter


# Of folders.


def model(folder: Path, of: Path, **keys: str) -> Path:
    """A folder with nothing but the configuration of a model of the tiny pair."""
    folder.mkdir(parents=True)
    written = json.loads((of / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**written, **keys}))
    return folder


def tuned(folder: Path, source: str, adapter: str | None = None) -> Path:
    """A drafter that `tune` made, as far as it says for whom."""
    model(folder, TINY_DRAFTER)
    block = None if adapter is None else {"source": adapter, "revision": None}
    told = {"tuning_version": 1, "target": {"source": source, "revision": None, "adapter": block}}
    (folder / TUNING).write_text(json.dumps(told))
    return folder


def test_the_shipped_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # the adapter's base is a path from there
    assert find_drafter(TINY_TARGET) == str(TINY_DRAFTER)
    assert find_drafter(TINY_ADAPTER) == str(TINY_DRAFTER)
    assert find_drafter(TINY_TARGET, adapter=TINY_ADAPTER) == str(TINY_DRAFTER)


def beside(folder: Path, target: Path) -> Path:
    tuned(folder / "drafter", "another-model")
    return model(folder / f"{target.name}-assistant", TINY_DRAFTER)


def without_a_name(folder: Path, target: Path) -> Path:
    model(folder / "other-assistant", TINY_DRAFTER)
    return model(folder / "drafter", TINY_DRAFTER)


def tuned_to_it(folder: Path, target: Path) -> Path:
    beside(folder, target)
    return tuned(folder / "better", target.name)


def tuned_within(folder: Path, target: Path) -> Path:
    beside(folder, target)
    return tuned(target / "my-drafter", target.name)


def of_the_base_in_its_card(folder: Path, target: Path) -> Path:
    base = model(folder / "models" / "base", TINY_TARGET)
    (target / "README.md").write_text(CARD.format(base))
    return model(folder / "models" / "base-assistant", TINY_DRAFTER)


def of_the_base_in_its_config(folder: Path, target: Path) -> Path:
    base = model(folder / "models" / "base", TINY_TARGET)
    shutil.rmtree(target)
    model(target, TINY_TARGET, _name_or_path=str(base))
    return model(folder / "models" / "drafter", TINY_DRAFTER)


@pytest.mark.parametrize(
    "arrange",
    [
        beside,
        without_a_name,
        tuned_to_it,
        tuned_within,
        of_the_base_in_its_card,
        of_the_base_in_its_config,
    ],
    ids=lambda arrange: arrange.__name__,
)
def test_by_folders(arrange: Callable[[Path, Path], Path], tmp_path: Path) -> None:
    target = model(tmp_path / "my-merged", TINY_TARGET)
    expected = arrange(tmp_path, target)
    assert find_drafter(target) == str(expected)


def test_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = model(tmp_path / "my-merged", TINY_TARGET)
    expected = model(tmp_path / "my-merged-assistant", TINY_DRAFTER)
    monkeypatch.chdir(target)
    assert Path(find_drafter(".")).samefile(expected)


def test_of_an_adapter_a_drafter_tuned_to_both(tmp_path: Path) -> None:
    """One that was tuned to the base alone is another target's."""
    base = model(tmp_path / "models" / "base", TINY_TARGET)
    model(tmp_path / "models" / "base-assistant", TINY_DRAFTER)
    adapter = tmp_path / "my-lora"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(adapter_json(str(base)))
    tuned(tmp_path / "of-base", "base")
    named = locate_target(str(adapter), None, no_hub)
    assert named.inferred
    assert drafter_of(named) == f"{base}-assistant"
    expected = tuned(tmp_path / "of-both", "base", "my-lora")
    assert drafter_of(named) == str(expected)
    assert drafter_of(named, tuned=False) == f"{base}-assistant"
    (base / "of-both").symlink_to(expected)  # beside the adapter, and again in the model's folder
    assert Path(drafter_of(named)).samefile(expected)
    tuned(tmp_path / "of-both-too", "base", "my-lora")
    with pytest.raises(CheckpointError, match=r"several drafters were tuned to it \(.*of-both, "):
        drafter_of(named)


def test_an_adapter_in_a_folder_called_as_its_models(tmp_path: Path) -> None:
    base = model(tmp_path / "base" / "final", TINY_TARGET)
    expected = model(tmp_path / "base" / "final-assistant", TINY_DRAFTER)
    adapter = tmp_path / "lora" / "final"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text(adapter_json(str(base)))
    assert find_drafter(adapter) == str(expected)


def test_none_is_there(tmp_path: Path) -> None:
    target = model(tmp_path / "my-merged", TINY_TARGET)
    model(tmp_path / "my-merged-assistant", TINY_TARGET)
    tuned(tmp_path / "drafter", "another-model")
    expected = (
        rf"my-merged: no drafter was found; tried {target}-assistant \(no drafter\), "
        rf"{tmp_path}/drafter \(made by `tune` for a target of its own\)\. Name one behind TARGET, or give "
    )
    with pytest.raises(CheckpointError, match=expected):
        find_drafter(target)


def test_what_is_no_target() -> None:
    with pytest.raises(ConfigError, match="this is a drafter"):
        find_drafter(TINY_DRAFTER)


# Of adapters.


def test_an_adapter_stands_for_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped one names its base by a path from the repository's root, as training there wrote it."""
    monkeypatch.chdir(ROOT)
    opened = resolve(str(TINY_ADAPTER), None, no_hub)
    assert opened.folder.samefile(TINY_TARGET)
    assert opened.adapter is not None
    assert opened.adapter.source == "tools"


def test_a_base_that_was_somewhere_else_is_looked_for_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = tmp_path / "my-lora"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(adapter_json("/content/models/base"))
    with pytest.raises(
        CheckpointError, match=r"my-lora was trained on a model that is not found.*--lora"
    ):
        locate_target(str(adapter), None, no_hub)
    base = model(tmp_path / "base", TINY_TARGET)
    assert locate_target(str(adapter), None, no_hub).target.folder == base
    monkeypatch.chdir(adapter)
    assert locate_target(".", None, no_hub).target.folder == base


@pytest.mark.parametrize("base", [None, "", 5])
def test_an_adapter_that_does_not_say_its_base(base: str | None, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(adapter_json(base))
    with pytest.raises(
        CheckpointError, match="does not say which model it was trained on; give it"
    ):
        locate_target(str(tmp_path), None, no_hub)


def test_an_adapter_and_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(CheckpointError, match="found an adapter, too; one adapter can be merged"):
        locate_target(str(TINY_ADAPTER), None, no_hub, str(TINY_ADAPTER))


def test_the_revision_of_the_base(tmp_path: Path) -> None:
    """PEFT keeps it; a repacked copy's is not the whole model's."""
    asked: list[tuple[str, str | None]] = []

    def download(name: str, revision: str | None) -> tuple[Path, str]:
        asked.append((name, revision))
        return TINY_TARGET, "commit"

    for base in ("owner/model", "owner/model-bnb-4bit"):
        written = {**json.loads(adapter_json(base)), "revision": "v1"}
        (tmp_path / "adapter_config.json").write_text(json.dumps(written))
        locate_target(str(tmp_path), None, download)
    assert asked == [("owner/model", "v1"), ("owner/model", None)]
