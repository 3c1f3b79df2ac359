"""``mtp-export export`` as its user meets it: what it makes, what it refuses, what it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.bundle_format import VOLATILE_FIELDS
from exporter.bundle_reader import open_bundle
from exporter.inspection import inspect_bundle
from tests.bundles import CACHE_LENGTH, TINY_DRAFTER, TINY_TARGET

COMMAND = [sys.executable, "-m", "exporter.cli.main", "export"]
Break = Callable[[Path, Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for outputs."""
    made = tmp_path / "out"
    made.mkdir()
    return made


@pytest.fixture
def copies(tmp_path: Path) -> tuple[Path, Path]:
    """Copies of the tiny pair, to be damaged."""
    target, drafter = tmp_path / "my-target", tmp_path / "my-drafter"
    shutil.copytree(TINY_TARGET, target)
    shutil.copytree(TINY_DRAFTER, drafter)
    return target, drafter


def run(
    *arguments: str | Path, target: Path = TINY_TARGET, drafter: Path = TINY_DRAFTER
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [*COMMAND, str(target), str(drafter), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    """It failed with exit code 1 and a message without traceback that says all of these."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    for text in said:
        assert text in done.stderr


def edit_config(folder: Path, **changes: object) -> None:
    """Change keys of the text config."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["text_config"].update(changes)
    path.write_text(json.dumps(config))


Tensors = dict[str, Any]  # of torch, which this module imports only when it has to


def edit_tensors(folder: Path, change: Callable[[Tensors], None]) -> None:
    """Change the weights of a checkpoint."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


# --- what it refuses -----------------------------------------------------------------------------


def other_size(target: Path, drafter: Path) -> None:
    config = json.loads((drafter / "config.json").read_text())
    config["backbone_hidden_size"] = 256
    (drafter / "config.json").write_text(json.dumps(config))


def unknown_layer_type(target: Path, drafter: Path) -> None:
    kinds = json.loads((target / "config.json").read_text())["text_config"]["layer_types"]
    edit_config(target, layer_types=["chunked_attention", *kinds[1:]])


def missing_and_misshaped(target: Path, drafter: Path) -> None:
    def change(tensors: Tensors) -> None:
        del tensors["model.language_model.norm.weight"]
        del tensors["model.language_model.layers.1.mlp.up_proj.weight"]
        name = "model.language_model.layers.0.mlp.up_proj.weight"
        tensors[name] = tensors[name][:-1].clone()

    edit_tensors(target, change)


def not_a_number(target: Path, drafter: Path) -> None:
    def change(tensors: Tensors) -> None:
        tensors["model.layers.2.mlp.down_proj.weight"][3, 5] = float("nan")

    edit_tensors(drafter, change)


def truncated(target: Path, drafter: Path) -> None:
    path = target / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def pickled(target: Path, drafter: Path) -> None:
    (target / "model.safetensors").rename(target / "pytorch_model.bin")


def no_tokenizer(target: Path, drafter: Path) -> None:
    (target / "tokenizer.json").unlink()


def no_template(target: Path, drafter: Path) -> None:
    (target / "chat_template.jinja").unlink()


def untied(target: Path, drafter: Path) -> None:
    config = json.loads((target / "config.json").read_text())
    config["tie_word_embeddings"] = False
    (target / "config.json").write_text(json.dumps(config))


def no_stop_token(target: Path, drafter: Path) -> None:
    edit_json(target / "generation_config.json", eos_token_id=[])


def odd_sampler(target: Path, drafter: Path) -> None:
    edit_json(target / "generation_config.json", top_k="many")


def empty_tokenizer(target: Path, drafter: Path) -> None:
    (target / "tokenizer.json").write_text("{}")


def latin_template(target: Path, drafter: Path) -> None:
    (target / "chat_template.jinja").write_bytes(b"{{ '\xe9' }}")


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def swapped(target: Path, drafter: Path) -> None:
    between = target.with_name("between")
    target.rename(between)
    drafter.rename(target)
    between.rename(drafter)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (other_size, ["does not belong to this target", "the drafter has 256, the target has 128"]),
        (unknown_layer_type, ["layer_types", "chunked_attention"]),
        (
            missing_and_misshaped,
            [
                "3 problems",
                "model.language_model.norm.weight is missing",
                "layers.1.mlp.up_proj.weight is missing",
                "layers.0.mlp.up_proj.weight has shape [255, 128], expected [256, 128]",
            ],
        ),
        (not_a_number, ["model.layers.2.mlp.down_proj.weight", "NaN", "element 389"]),
        (truncated, ["truncated", "model.safetensors"]),
        (pickled, ["pytorch_model.bin", "safe_serialization=True"]),
        (no_tokenizer, ["tokenizer.json"]),
        (no_template, ["chat_template.jinja"]),
        (untied, ["tie_word_embeddings"]),
        (no_stop_token, ["eos_token_id", "found []"]),
        (odd_sampler, ["top_k", "'many'"]),
        (empty_tokenizer, ["tokenizer.json", "expected a Hugging Face tokenizer"]),
        (latin_template, ["chat_template.jinja", "UTF-8"]),
        (swapped, ["model_type gemma4", "'gemma4_assistant'"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_bad_input_is_one_clear_message(
    damage: Break, said: list[str], copies: tuple[Path, Path], folder: Path
) -> None:
    target, drafter = copies
    damage(target, drafter)
    done = run("-o", folder / "x.litertlm", target=target, drafter=drafter)
    refused(done, *said)
    assert list(folder.iterdir()) == []


def test_a_pair_that_fits_after_a_copy(copies: tuple[Path, Path], folder: Path) -> None:
    """The damage above is what is refused: the undamaged copies export."""
    target, drafter = copies
    done = run("-o", folder / "x.litertlm", target=target, drafter=drafter)
    assert done.returncode == 0, done.stderr


def test_an_existing_output_needs_force(folder: Path) -> None:
    output = folder / "x.litertlm"
    output.write_text("precious")
    refused(run("-o", output), "exists already", "--force")
    assert output.read_text() == "precious"
    assert run("-o", output, "--force").returncode == 0
    assert inspect_bundle(output).has_drafter


def test_an_index_left_over_from_a_sharded_save(copies: tuple[Path, Path], folder: Path) -> None:
    """Transformers reads the single file then, and so do we."""
    target, drafter = copies
    index = {"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}
    (target / "model.safetensors.index.json").write_text(json.dumps(index))
    done = run("-o", folder / "x.litertlm", target=target, drafter=drafter)
    assert done.returncode == 0, done.stderr


def test_an_output_that_appears_meanwhile_is_not_replaced(folder: Path) -> None:
    """Two exports to one new name at the same time: one of them says that it came too late."""
    output = folder / "x.litertlm"
    command = [*COMMAND, str(TINY_TARGET), str(TINY_DRAFTER), "-o", str(output)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], said
    assert any("exists already" in text for text in said)
    assert list(folder.iterdir()) == [output]


@pytest.mark.parametrize("name", ["x" * 300, "x" * 240 + ".litertlm"])
def test_long_names(name: str, folder: Path) -> None:
    """A name too long for the file system is refused; a long one is fine."""
    done = run("-o", folder / name)
    if len(name) > 255:
        refused(done, "File name too long")
    else:
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["foo bar/baz", "~nosuch/x", "x" * 300])
def test_names_that_are_no_checkpoint(name: str, folder: Path) -> None:
    command = [*COMMAND, name, str(TINY_DRAFTER), "-o", str(folder / "x.litertlm")]
    refused(subprocess.run(command, capture_output=True, text=True, check=False), name)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cache-length", "100000"], "positions this model was trained for"),
        (["--cache-length", "64", "--prefill-lengths", "128"], "does not fit a cache"),
    ],
)
def test_lengths_that_do_not_fit(options: list[str], said: str, folder: Path) -> None:
    refused(run("-o", folder / "x.litertlm", *options), said)
    assert list(folder.iterdir()) == []


def test_usage_errors_exit_with_2(folder: Path) -> None:
    output = str(folder / "x.litertlm")
    for arguments in (
        [str(TINY_TARGET), "-o", output],
        [str(TINY_TARGET), str(TINY_DRAFTER), "--no-drafter", "-o", output],
        [str(TINY_TARGET), str(TINY_DRAFTER), "-o", output, "--recipe", "int1"],
        [str(TINY_TARGET), str(TINY_DRAFTER), "-o", output, "--prefill-lengths", "many"],
    ):
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB; its free space is read as it is."""
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(mount)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"a small file system needs the right to mount one: {made.stderr.strip()}")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)  # noqa: S607


def test_too_little_space_is_seen_before_writing(small_disk: Path) -> None:
    refused(run("-o", small_disk / "x.litertlm"), "GB are needed", "free")
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_up_meanwhile(small_disk: Path, folder: Path) -> None:
    """Another process takes the space after the check."""
    from exporter.errors import OutputError
    from exporter.output import scratch_folder

    with (
        pytest.raises(OutputError, match="the disk filled up"),
        scratch_folder(small_disk / "x.litertlm") as scratch,
    ):
        (scratch / "section").write_bytes(bytes(4 * 1024 * 1024))
    assert list(small_disk.iterdir()) == []


# --- what an interrupt leaves --------------------------------------------------------------------


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("fresh", [True, False], ids=["lowering", "storing"])
def test_an_interrupt_leaves_nothing(stop: signal.Signals, fresh: bool, folder: Path) -> None:
    """At moments spread over the whole run; one that comes too late finds a finished bundle."""
    options = ["--fresh-graphs"] if fresh else []
    for delay in (0.2, 0.5, 0.8, 1.1, 1.6) if not fresh else (1.0, 6.0):
        output = folder / f"{delay}.litertlm"
        command = [*COMMAND, str(TINY_TARGET), str(TINY_DRAFTER), "-o", str(output), *options]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        time.sleep(delay)
        process.send_signal(stop)
        _, said = process.communicate(timeout=60)
        if process.returncode == 0:
            assert inspect_bundle(output).problems == ()
            output.unlink()
        else:
            assert process.returncode in (130, -stop), said
        assert list(folder.iterdir()) == []


def test_an_interrupt_does_not_wait_for_checksums(copies: tuple[Path, Path], folder: Path) -> None:
    """The sources are hashed in a thread; of a large checkpoint that takes longer than anyone waits."""
    target, drafter = copies
    grow(target / "model.safetensors", 24 * 1024**3)
    command = [*COMMAND, str(target), str(drafter), "-o", str(folder / "x.litertlm")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    time.sleep(2.5)
    assert process.poll() is None, "hashing was too fast to be interrupted: grow the file"
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - started < 3
    assert list(folder.iterdir()) == []


def grow(path: Path, nbytes: int) -> None:
    """Add a tensor of zeros that takes no room on the disk."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    data = content[8 + length :]
    header["extra"] = {
        "dtype": "U8", "shape": [nbytes], "data_offsets": [len(data), len(data) + nbytes],
    }  # fmt: skip
    packed = json.dumps(header).encode()
    path.write_bytes(len(packed).to_bytes(8, "little") + packed + data)
    os.truncate(path, path.stat().st_size + nbytes)


def test_a_killed_run_is_tidied_by_the_next(folder: Path) -> None:
    """SIGKILL leaves a folder whose name says so; the next run for that output removes it."""
    output = folder / "x.litertlm"
    command = [*COMMAND, str(TINY_TARGET), str(TINY_DRAFTER), "-o", str(output)]
    left = False
    for _ in range(20):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and not list(folder.glob(".x.litertlm.partial-*/lock")):
            time.sleep(0.002)
        process.kill()
        process.wait()
        left = left or bool(list(folder.glob(".x.litertlm.partial-*")))
        output.unlink(missing_ok=True)
        if left:
            break
    assert left
    assert run("-o", output).returncode == 0
    assert list(folder.iterdir()) == [output]


# --- what it makes -------------------------------------------------------------------------------


def test_equal_input_gives_equal_bytes(folder: Path) -> None:
    """Apart from the two header fields the builder stamps."""
    first, second = folder / "a.litertlm", folder / "b.litertlm"
    for output in (first, second):
        assert run("-o", output).returncode == 0
    headers = [open_bundle(path) for path in (first, second)]
    for bundle in headers:
        for name in VOLATILE_FIELDS:
            bundle.system_metadata.pop(name)
    assert headers[0].system_metadata == headers[1].system_metadata
    assert headers[0].sections == headers[1].sections
    for section in headers[0].sections:
        assert headers[0].read(section) == headers[1].read(section)


def test_the_manifest_says_where_it_came_from(tiny_bundles: dict[str, Path]) -> None:
    import hashlib

    manifest = open_bundle(tiny_bundles["int8"]).manifest()
    assert manifest is not None
    weights = (TINY_TARGET / "model.safetensors").read_bytes()
    target = manifest["sources"]["target"]
    assert target["source"] == "target"
    assert target["sha256"]["model.safetensors"] == hashlib.sha256(weights).hexdigest()
    assert any("vision_tower" in name for name in target["ignored_tensors"])
    assert manifest["recipe"]["name"] == "int8"
    assert manifest["contract"]["cache_length"] == CACHE_LENGTH
    assert str(Path.home()) not in json.dumps(manifest)
    assert os.sep + "tiny" not in json.dumps(manifest)
