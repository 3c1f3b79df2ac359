"""`rebuild`: the same bytes from the same sources, wherever they lie, and what differs otherwise."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from exporter.files.checksum import sha256
from exporter.litertlm.stamp import EPOCH_VARIABLE
from tests.bundles import TINY_DRAFTER, TINY_TARGET
from tests.command import run, run_without
from tests.export.command import edit_json

PAIR = "--target", TINY_TARGET, "--drafter", TINY_DRAFTER
EXTRAS = "huggingface_hub", "litert_torch", "tokenizers", "torch", "transformers"


@pytest.fixture(scope="module")
def with_template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A bundle that was given a chat template, and that."""
    folder = tmp_path_factory.mktemp("given")
    bundle, template = folder / "given.litertlm", folder / "template.jinja"
    template.write_text((TINY_TARGET / "chat_template.jinja").read_text() + "{# mine #}")
    made = run("export", TINY_TARGET, TINY_DRAFTER, "-o", bundle, "--chat-template", template)
    assert made.returncode == 0, made.stderr
    return bundle, template


@pytest.mark.slow
def test_the_same_bytes_from_copies_of_other_names(
    with_template: tuple[Path, Path], tmp_path: Path
) -> None:
    """No extra is needed where the graphs ship."""
    made, template = with_template
    target, drafter = tmp_path / "mine", tmp_path / "its-drafter"
    shutil.copytree(TINY_TARGET, target)
    shutil.copytree(TINY_DRAFTER, drafter)
    again, pair = tmp_path / "again.litertlm", ("--target", target, "--drafter", drafter)
    done = run_without(EXTRAS, "rebuild", made, "-o", again, *pair, "--chat-template", template)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{again}: the same bytes as {made}\n"
    assert sha256(made) == sha256(again)


def test_options_are_those_of_the_bundle(short_bundle: Path, tmp_path: Path) -> None:
    """A fixed cache length, prefills and a recipe of its own."""
    done = run("rebuild", short_bundle, "-o", tmp_path / "again.litertlm", *PAIR)
    assert done.returncode == 0, done.stderr


def test_a_bundle_without_a_drafter(plain_bundle: Path, tmp_path: Path) -> None:
    done = run("rebuild", plain_bundle, "-o", tmp_path / "again.litertlm", *PAIR[:2])
    assert done.returncode == 0, done.stderr


def test_what_differs_is_told(
    plain_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    shutil.copytree(TINY_TARGET, target)
    edit_json(target / "generation_config.json", top_k=17)
    monkeypatch.setenv(EPOCH_VARIABLE, "1700000000")
    again = tmp_path / "again.litertlm"
    done = run("rebuild", plain_bundle, "-o", again, "--target", target)
    assert done.returncode == 3
    told = done.stderr[done.stderr.index("problems:") :].splitlines()[1:]
    assert [line.strip(" -").split(": ")[0] for line in told] == [
        "manifest.sources.target.sha256.generation_config.json",
        "the time in the header",
        "the section mtp_export_manifest",
        "the uuid, which follows from all else, or was made by an earlier version of mtp-export",
    ]
    assert "set SOURCE_DATE_EPOCH=0" in done.stderr
    assert again.is_file()


def test_what_is_refused(
    with_template: tuple[Path, Path], plain_bundle: Path, tmp_path: Path
) -> None:
    given, template = with_template
    beside, output = ("--chat-template", template), tmp_path / "out.litertlm"
    for arguments, code, said in (
        (
            (given, *beside),
            2,
            "the bundle's target was a folder called target: give it by --target",
        ),
        ((given, *beside, *PAIR[:2]), 2, "the bundle's drafter was a folder called drafter"),
        ((plain_bundle, *PAIR), 2, "made without a drafter"),
        ((given, *PAIR), 2, "a chat template of its own: give --chat-template FILE"),
        ((TINY_TARGET, *PAIR), 1, "expected a .litertlm bundle"),
    ):
        done = run("rebuild", *arguments, "-o", output)
        assert done.returncode == code
        assert said in done.stderr
        assert not output.exists()
    older = tmp_path / "older.litertlm"
    older.write_bytes(plain_bundle.read_bytes().replace(b'"trained_codes"', b'"trained-codes"'))
    done = run("rebuild", older, *PAIR[:2], "-o", output)
    assert done.returncode == 1
    assert "found one without trained_codes; it was made by another version" in done.stderr
    done = run("rebuild", plain_bundle, *PAIR[:2], "-o", plain_bundle, "--force")
    assert done.returncode == 2
    assert "the output is BUNDLE itself" in done.stderr
