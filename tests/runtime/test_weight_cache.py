"""Packed weights in files are used again, for the weights they were packed from and while they are intact."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from exporter.bundle.reader import open_bundle
from exporter.contract.names import Section
from exporter.errors import BundleError
from runtime_py.chat.conversation import Conversation
from runtime_py.engine.stock_engine import ENGINE, EngineSettings, run_engine
from runtime_py.litert.hardware import LITERT, Hardware
from runtime_py.opened_model import open_model
from runtime_py.weight_cache import content_key
from tests.bundles import held_out_prompts
from tests.damage import damaged, rewritten

NEW_TOKENS = 12
CACHES = "*.xnnpack_cache"
PROJECT = Path(__file__).parent.parent.parent

Answer = Callable[[Path, Path | None], str]


def reference_answer(bundle: Path, cache: Path | None) -> str:
    with open_model(bundle, Hardware(threads=1, weight_cache=cache)) as opened:
        return opened.session().answer(held_out_prompts(1)[0], NEW_TOKENS).text


def engine_answer(bundle: Path, cache: Path | None) -> str:
    settings = EngineSettings(bundle, mtp=True, max_new_tokens=NEW_TOKENS, weight_cache=cache)
    (text,) = run_engine(settings, [Conversation.asking(held_out_prompts(1)[0])]).texts
    return text


@pytest.fixture(scope="module")
def bundle(tiny_bundles: dict[str, Path]) -> Path:
    return tiny_bundles["float32"]


@pytest.fixture(scope="module")
def other(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of that name whose target's weights are halved, with the checksums that go with it."""
    section = open_bundle(bundle).model(Section.PREFILL_DECODE)
    assert section is not None
    content = open_bundle(bundle).read(section)
    graph, weights = content[: section.graph_bytes], content[section.graph_bytes :]
    halved = (np.frombuffer(weights, np.float32) / 2).tobytes()
    made = rewritten(bundle, tmp_path_factory.mktemp("other"), section, graph + halved)
    return made.rename(made.with_name(bundle.name))


def kept(folder: Path) -> dict[Path, str]:
    """The checksum of every file of packed weights."""
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.rglob(CACHES)}


@pytest.mark.parametrize("answer", [reference_answer, engine_answer])
def test_bundles_of_one_name_and_a_damaged_file(
    answer: Answer,
    bundle: Path,
    other: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = answer(bundle, None)
    halved = answer(other, None)
    assert said != halved
    assert answer(bundle, tmp_path) == said
    files = kept(tmp_path)
    inodes = {file: file.stat().st_ino for file in files}
    assert answer(other, tmp_path) == halved
    assert answer(bundle, tmp_path) == said
    assert files.items() < kept(tmp_path).items()
    assert {file: file.stat().st_ino for file in files} == inodes, "a file was not used again"
    assert not caplog.messages
    largest = max(files, key=lambda file: file.stat().st_size)
    with largest.open("r+b") as stream:  # in the middle, where the weights are
        stream.seek(largest.stat().st_size // 2)
        stream.write(b"\xff\xff\xff\x7f" * 1024)
    assert answer(bundle, tmp_path) == said
    assert caplog.messages == [f"{largest}: damaged; the weights are packed anew"]
    assert files.items() < kept(tmp_path).items()


def test_a_flipped_bit_is_found(bundle: Path, tmp_path: Path) -> None:
    reference_answer(bundle, tmp_path)
    files = kept(tmp_path)
    for file in files:
        content = bytearray(file.read_bytes())
        content[len(content) // 3] ^= 1
        file.write_bytes(content)
    assert not files.items() & kept(tmp_path).items()
    reference_answer(bundle, tmp_path)
    assert files == kept(tmp_path)


def test_weights_of_a_damaged_bundle_are_not_kept(bundle: Path, tmp_path: Path) -> None:
    """Else the undamaged bundle, which has the checksums in its header too, would be given them."""
    section = open_bundle(bundle).model(Section.PREFILL_DECODE)
    assert section is not None
    flipped = damaged(bundle, tmp_path, section.end - 8)
    with pytest.raises(BundleError, match="damaged; copy or export it again"):
        reference_answer(flipped, tmp_path / "cache")
    assert not [file for file in kept(tmp_path / "cache") if "prefill_decode" in file.name]
    assert reference_answer(bundle, tmp_path / "cache") == reference_answer(bundle, None)


def test_packages_have_versions(bundle: Path) -> None:
    """The key depends on what packs; the engine's package is the one that its extra installs."""
    requirements = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = requirements["optional-dependencies"]
    for library, wanted in ((ENGINE, extras["engine"]), (LITERT, requirements["dependencies"])):
        assert library in {Requirement(each).name for each in wanted}
    opened = open_bundle(bundle)
    keys = {content_key(opened, opened.sections, library) for library in (ENGINE, "not-there")}
    assert len(keys) == 2


def test_files_of_others_stay(bundle: Path, tmp_path: Path) -> None:
    mine = [tmp_path / "notes.txt", tmp_path / f"{bundle.stem}.tf_lite_embedder.xnnpack_cache"]
    for file in mine:
        file.write_text("mine")
    reference_answer(bundle, tmp_path)
    assert all(file.read_text() == "mine" for file in mine)
    assert not list(tmp_path.glob(".*")), "something is left of making the files"
