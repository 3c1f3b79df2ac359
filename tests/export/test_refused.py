"""What it refuses: one clear message, a documented exit code, nothing left on disk."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from exporter.bundle.inspection import inspect_bundle
from tests.bundles import TINY_DRAFTER, TINY_TARGET
from tests.command import COMMAND, run_process
from tests.command import run as command
from tests.export.command import (
    Break,
    Tensors,
    edit_config,
    edit_json,
    edit_tensors,
    refused,
    run,
)

SLOW = pytest.mark.slow
"""Of what is seen only when the engine has tried the chat template."""


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
    edit_json(target / "generation_config.json", eos_token_id=["<eos>"])


def odd_sampler(target: Path, drafter: Path) -> None:
    edit_json(target / "generation_config.json", top_k="many")


def empty_tokenizer(target: Path, drafter: Path) -> None:
    (target / "tokenizer.json").write_text("{}")


def latin_template(target: Path, drafter: Path) -> None:
    (target / "chat_template.jinja").write_bytes(b"{{ '\xe9' }}")


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
        pytest.param(
            missing_and_misshaped,
            [
                "3 problems",
                "model.language_model.norm.weight is missing",
                "layers.1.mlp.up_proj.weight is missing",
                "layers.0.mlp.up_proj.weight has shape [255, 128], expected [256, 128]",
            ],
            marks=SLOW,
        ),
        pytest.param(
            not_a_number,
            ["model.layers.2.mlp.down_proj.weight", "NaN", "element 389"],
            marks=SLOW,
        ),
        (truncated, ["truncated", "model.safetensors"]),
        (pickled, ["pytorch_model.bin", "safe_serialization=True"]),
        (no_tokenizer, ["tokenizer.json"]),
        (no_template, ["chat_template.jinja"]),
        pytest.param(untied, ["lm_head.weight is missing"], marks=SLOW),
        pytest.param(no_stop_token, ["eos_token_id", "expected token ids below 2048"], marks=SLOW),
        pytest.param(odd_sampler, ["top_k", "'many'"], marks=SLOW),
        (empty_tokenizer, ["tokenizer.json", "expected a Hugging Face tokenizer"]),
        (latin_template, ["chat_template.jinja", "UTF-8"]),
        (swapped, ["this is a drafter", "-assistant checkpoint second"]),
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


@pytest.mark.slow
def test_an_existing_output_needs_force(copies: tuple[Path, Path], folder: Path) -> None:
    """With it the undamaged copies export: the damage above is what is refused."""
    target, drafter = copies
    output = folder / "x.litertlm"
    output.write_text("precious")
    refused(run("-o", output, target=target, drafter=drafter), "exists already", "--force")
    assert output.read_text() == "precious"
    done = run("-o", output, "--force", target=target, drafter=drafter)
    assert done.returncode == 0, done.stderr
    assert inspect_bundle(output).has_drafter


@pytest.mark.slow
def test_an_index_left_over_from_a_sharded_save(copies: tuple[Path, Path], folder: Path) -> None:
    """Transformers reads the single file then, and so do we."""
    target, drafter = copies
    index = {"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}
    (target / "model.safetensors.index.json").write_text(json.dumps(index))
    done = run("-o", folder / "x.litertlm", target=target, drafter=drafter)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_an_output_that_appears_meanwhile_is_not_replaced(folder: Path) -> None:
    """Two exports to one new name at the same time: one of them says that it came too late."""
    output = folder / "x.litertlm"
    words = ["export", str(TINY_TARGET), str(TINY_DRAFTER), "-o", str(output)]
    both = [
        subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], said
    assert any("exists already" in text for text in said)
    assert list(folder.iterdir()) == [output]


@pytest.mark.slow
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
    refused(command("export", name, TINY_DRAFTER, "-o", folder / "x.litertlm"), name)


@pytest.mark.slow
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
        [str(TINY_TARGET), str(TINY_DRAFTER), "--no-drafter", "-o", output],
        [str(TINY_TARGET), str(TINY_DRAFTER), "-o", output, "--recipe", "int1"],
        [str(TINY_TARGET), str(TINY_DRAFTER), "-o", output, "--prefill-lengths", "many"],
    ):
        done = command("export", *arguments)
        assert done.returncode == 2, done.stderr


@pytest.mark.slow
def test_the_process_ends_as_told(folder: Path) -> None:
    """Exit codes of the command as a user starts it; the tests above run it in their own process."""
    output = folder / "x.litertlm"
    pair = "export", TINY_TARGET, TINY_DRAFTER
    assert run_process(*pair, "--recipe", "int1", "-o", output).returncode == 2
    refused(run_process(*pair, "--cache-length", "100000", "-o", output), "trained for")
    done = run_process(*pair, "-o", output)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{output}: {output.stat().st_size:,} bytes\n"


@pytest.mark.slow
def test_too_little_space_is_seen_before_writing(small_disk: Path) -> None:
    refused(run("-o", small_disk / "x.litertlm"), "GB are needed", "free")
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_up_meanwhile(small_disk: Path, folder: Path) -> None:
    """Another process takes the space after the check."""
    from exporter.errors import OutputError
    from exporter.files.output import scratch_folder

    with (
        pytest.raises(OutputError, match="the disk filled up"),
        scratch_folder(small_disk / "x.litertlm") as scratch,
    ):
        (scratch / "section").write_bytes(bytes(4 * 1024 * 1024))
    assert list(small_disk.iterdir()) == []
