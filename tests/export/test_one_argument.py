"""``export`` with one argument: what is inferred is told, and can be given; outputs are checked first."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from exporter.bundle.inspection import inspect_bundle
from exporter.cli.export_inference import Asked, choose
from exporter.errors import CheckpointError, OutputError
from exporter.options import ExportOptions, OutputFormat
from exporter.path_kind import MANIFEST
from quantize.builtin_recipes import RECIPES
from quantize.recipe import Recipe
from tests.bundles import ROOT, TINY_TARGET
from tests.command import run

ADAPTER = ROOT / "checkpoints" / "tiny" / "tools"


def asked(
    target: str | Path = TINY_TARGET,
    *,
    drafter: str | None = None,
    output: str | Path | None = None,
    lora: str | None = None,
    no_drafter: bool = False,
) -> Asked:
    given = None if output is None else str(output)
    return Asked(str(target), drafter, given, lora, None, no_drafter, None, None)


def options(
    recipe: Recipe = RECIPES["int4"],
    output_format: OutputFormat = OutputFormat.LITERTLM,
    *,
    force: bool = False,
) -> ExportOptions:
    return ExportOptions(recipe, format=output_format, force=force)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, from which the adapter's base is found as well."""
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_an_adapter_alone(here: Path) -> None:
    done = run("export", "checkpoints/tiny/tools")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[:3] == [
        "target: checkpoints/tiny/target (inferred: checkpoints/tiny/tools is an adapter of it; `export "
        "TARGET --lora checkpoints/tiny/tools` takes another)",
        "drafter: checkpoints/tiny/drafter (inferred; name another behind TARGET, or give --no-drafter)",
        "output: tools-mixed-clip.litertlm (inferred; -o names another)",
    ]
    found = inspect_bundle(here / "tools-mixed-clip.litertlm")
    assert found.has_drafter
    assert found.manifest is not None
    sources = found.manifest["sources"]
    assert sources["target"]["adapter"]["source"] == "tools"
    assert {role: block["source"] for role, block in sources.items()} == {
        "target": "target",
        "drafter": "drafter",
    }
    again = run("export", "checkpoints/tiny/tools")
    assert again.returncode == 1
    assert "tools-mixed-clip.litertlm exists already; give --force" in again.stderr


def test_nothing_is_told_of_what_was_given(here: Path) -> None:
    drafter = "checkpoints/tiny/drafter"
    chosen = choose(asked(drafter=drafter, output="x.litertlm"), options())
    assert (chosen.told, chosen.drafter, chosen.output) == ((), drafter, Path("x.litertlm"))
    chosen = choose(asked(output="x.litertlm", no_drafter=True), options())
    assert (chosen.told, chosen.drafter) == ((), None)


@pytest.mark.parametrize(
    ("asks", "recipe", "name"),
    [
        (asked(), "int4-block32", "target-int4-block32.litertlm"),
        (asked(f"{TINY_TARGET}/"), "int4", "target-int4.litertlm"),
        (asked(lora=str(ADAPTER)), "mixed-clip", "tools-mixed-clip.litertlm"),
        (asked(output="made/"), "int4", "made/target-int4.litertlm"),
        (asked(output="made"), "int4", "made/target-int4.litertlm"),
        (asked(output="."), "int4", "target-int4.litertlm"),
        (asked(output="link"), "int4", "link/target-int4.litertlm"),
    ],
)
def test_the_name_of_the_output(asks: Asked, recipe: str, name: str, here: Path) -> None:
    (here / "made").mkdir()
    (here / "link").symlink_to("made")
    chosen = choose(asks, options(RECIPES[recipe]))
    assert chosen.output == Path(name)
    assert chosen.told[-1] == f"output: {name} (inferred; -o names another)"


def test_a_recipe_of_any_name(here: Path) -> None:
    chosen = choose(asked(), options(Recipe("my best/recipe", "", ())))
    assert chosen.output == Path("target-my-best-recipe.litertlm")


def test_the_name_of_a_folder(here: Path) -> None:
    """One that exists is where the export goes, unless it is an export, to be replaced."""
    onnx = options(output_format=OutputFormat.ONNX, force=True)
    assert choose(asked(), onnx).output == Path("target-int4-onnx")
    (here / "made").mkdir()
    assert choose(asked(output="made"), onnx).output == Path("made/target-int4-onnx")
    (here / "made" / MANIFEST).write_text("{}")
    assert choose(asked(output="made"), onnx).output == Path("made")


OUTPUTS = {
    "x.tflite": r"x.tflite: a bundle's name must end in .litertlm",
    "x": "a bundle's name must end in .litertlm",
    "x.litertlm.zip": "a bundle's name must end in .litertlm",
    "missing/": "missing/target-int4.litertlm: the folder missing does not exist; create it first",
    "missing/x.litertlm": "the folder missing does not exist",
    "file/x.litertlm": "file/x.litertlm: file is no folder",
    "there.litertlm": "there.litertlm exists already; give --force to replace it",
    "link.litertlm": "link.litertlm exists already; give --force",
    "dangling.litertlm": "dangling.litertlm exists already; give --force",
    "pipe.litertlm": "found a device or a pipe",
    "folder.litertlm/": "folder.litertlm/target-int4.litertlm exists already",
}


@pytest.mark.parametrize(("output", "said"), OUTPUTS.items(), ids=OUTPUTS)
def test_outputs_are_checked_before_anything_is_read(output: str, said: str, here: Path) -> None:
    """The target does not exist."""
    (here / "file").touch()
    (here / "there.litertlm").touch()
    (here / "link.litertlm").symlink_to("there.litertlm")
    (here / "dangling.litertlm").symlink_to("nowhere")
    os.mkfifo(here / "pipe.litertlm")
    (here / "folder.litertlm").mkdir()
    (here / "folder.litertlm" / "target-int4.litertlm").touch()
    with pytest.raises(OutputError, match=said):
        choose(asked("no/such/target", output=output), options())


@pytest.mark.parametrize("suffix", [".onnx", ".litertlm", ".tflite"])
def test_a_folder_is_not_called_like_a_file(suffix: str, here: Path) -> None:
    with pytest.raises(OutputError, match="an export to ONNX is a folder of models"):
        choose(asked(output=f"x{suffix}"), options(output_format=OutputFormat.ONNX))


def test_no_drafter_is_found(here: Path) -> None:
    alone = here / "alone" / "model"
    shutil.copytree(TINY_TARGET, alone, copy_function=os.link)
    done = run("export", alone)
    assert done.returncode == 1
    assert done.stderr == (
        f"mtp-export: {alone}: no drafter was found; tried {alone}-assistant (no such folder). Name one "
        "behind TARGET, or give --no-drafter for a bundle without speculative decoding\n"
    )
    assert list(here.glob("*.litertlm")) == []
    with pytest.raises(CheckpointError, match="expected a folder or a hub id"):
        choose(asked(drafter="no/such/drafter"), options())
