"""A pipe, a device, a folder or a link to nothing where a file should be: an error, and no waiting."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.bundle.onnx_folder import METADATA, TOKENIZER, OnnxFolder
from exporter.bundle.reader import open_bundle
from exporter.calibrate.text import read_text
from exporter.checkpoints.assets.assets import Assets, read_assets
from exporter.checkpoints.checkpoint import hash_files, open_checkpoint
from exporter.checkpoints.configs.config import parse_target
from exporter.checkpoints.lora.adapter import open_adapter
from exporter.checkpoints.tensors.stored_tensor import read_tensors
from exporter.compare.passages import read_text_file
from exporter.errors import BundleError, MtpExportError
from exporter.path_kind import base_of
from exporter.regular_file import NotAFileError, has_file, require_file
from exporter.verify.texts import read_prompts
from quantize.recipe_file import read_recipe
from runtime_py.chat.chat_file import read_chat_file
from runtime_py.chat.chat_lines import read_chat_lines
from runtime_py.chat.conversation import Message
from runtime_py.chat.media import Medium, read_file
from tests.bundles import ROOT, TINY_TARGET

SECONDS = 20
"""Until a test that waits for a pipe is ended."""

ADAPTER = ROOT / "checkpoints" / "tiny" / "tools"

THINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "found a pipe"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "found a device"),
    "folder": (Path.mkdir, "found a folder"),
    "loop": (lambda path: path.symlink_to(path.name), "a link that leads to itself"),
    "dangling": (lambda path: path.symlink_to("nowhere"), "a link to nowhere"),
}
"""What to put in the place of a file, and what is said of it."""


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    def end(number: int, frame: object) -> None:
        pytest.fail("it waits for a file that is none")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=THINGS)
def thing(request: pytest.FixtureRequest) -> tuple[Callable[[Path], object], str]:
    return THINGS[request.param]


Reader = Callable[[Path], object]


def assets(folder: Path) -> Assets:
    checkpoint = open_checkpoint(folder)
    return read_assets(checkpoint, parse_target(checkpoint.config, "target"))


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "model.safetensors.index.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ],
)
def test_files_of_a_checkpoint(
    name: str, thing: tuple[Callable[[Path], object], str], tmp_path: Path
) -> None:
    """Whether it must be there or may be absent: it is never taken for absent."""
    folder = tmp_path / "target"
    shutil.copytree(TINY_TARGET, folder)
    if name.endswith(".index.json"):
        (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    (folder / name).unlink(missing_ok=True)
    put, said = thing
    put(folder / name)
    if name == "model.safetensors":
        with pytest.raises(MtpExportError, match=said):
            read_tensors(folder)
        return
    with pytest.raises(MtpExportError, match=said):
        assets(folder)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_files_of_an_adapter(
    name: str, thing: tuple[Callable[[Path], object], str], tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(ADAPTER, folder)
    (folder / name).unlink()
    put, said = thing
    put(folder / name)
    expected = said if name.endswith(".safetensors") else "expected an adapter's folder"
    with pytest.raises(MtpExportError, match=expected):
        open_adapter(folder)
    assert base_of(folder) is None or name.endswith(".safetensors")


@pytest.mark.parametrize(
    "read",
    [
        read_recipe,
        read_chat_file,
        read_chat_lines,
        read_prompts,
        read_text_file,
        lambda path: read_file(Medium.IMAGE, path),
        lambda path: read_file(Medium.AUDIO, path),
        lambda path: read_text(path, assets(TINY_TARGET)),
    ],
    ids=["recipe", "chat", "conversations", "prompts", "text", "picture", "sound", "calibration"],
)
def test_files_that_a_user_names(
    read: Reader, thing: tuple[Callable[[Path], object], str], tmp_path: Path
) -> None:
    put, said = thing
    put(tmp_path / "x")
    with pytest.raises(MtpExportError, match=said):
        read(tmp_path / "x")


def test_a_pipe_that_was_handed() -> None:
    """As ``-`` and a shell's ``<(...)`` are."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        stream.write('[{"role": "user", "content": "Hello"}]')
    assert read_chat_file(Path(f"/dev/fd/{reading}")).turns == (Message("user", "Hello"),)
    os.close(reading)


def test_a_bundle(thing: tuple[Callable[[Path], object], str], tmp_path: Path) -> None:
    put, _ = thing
    put(tmp_path / "x")
    with pytest.raises(MtpExportError, match=r"found (a pipe|an empty folder)"):
        open_bundle(tmp_path / "x")


def test_files_of_an_onnx_folder(
    thing: tuple[Callable[[Path], object], str], tmp_path: Path
) -> None:
    put, said = thing
    for name in (METADATA, TOKENIZER):
        put(tmp_path / name)
    folder = OnnxFolder(tmp_path, {})
    with pytest.raises(BundleError, match=said):
        folder.llm_metadata()
    with pytest.raises(NotAFileError):
        folder.tokenizer_json()


def test_what_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    assert [has_file(tmp_path / name) for name in ("file", "link", "none", "file/below")] == [
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(FileNotFoundError):
        require_file(tmp_path / "none")
    with pytest.raises(NotAFileError):
        require_file(tmp_path)


def test_shards_of_one_name_have_a_checksum_each(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.safetensors").write_text(folder)
    files = sorted(tmp_path.rglob("*.safetensors"))
    assert len(set(hash_files(files, lambda _: None).values())) == 2
