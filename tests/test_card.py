"""`card`: front matter that the hub's own library reads, what is in the bundle, what was measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.hub import read_card
from exporter.cli.card import BENCH_KEYS
from exporter.errors import CheckpointError
from exporter.options import ExportOptions
from exporter.pipeline import export
from quantize.builtin_recipes import RECIPES
from tests.bundles import ROOT, TINY_DRAFTER, TINY_TARGET
from tests.command import run
from tests.once import lowering, made_once

HUB_ID, COMMIT = "google/gemma-4-E2B-it", "0123456789abcdef0123456789abcdef01234567"
TAGS = ["litert", "litert-lm", "gemma4", "on-device"]


@pytest.fixture(scope="module")
def from_hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose target seems to come from the hub, as its manifest says."""

    def make(output: Path) -> None:
        target = open_checkpoint(TINY_TARGET, HUB_ID, COMMIT)
        with lowering():
            export(target, open_checkpoint(TINY_DRAFTER), output, ExportOptions(RECIPES["int8"]))

    return made_once(tmp_path_factory.mktemp("hub") / "from-hub.litertlm", make)


def saved(path: Path, *arguments: str | Path) -> Path:
    """What a command prints as JSON, in a file."""
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    path.write_text(done.stdout)
    return path


@pytest.mark.slow
def test_a_card_has_what_was_measured(from_hub: Path, tmp_path: Path) -> None:
    short = "--max-new-tokens", "8"
    verified = saved(tmp_path / "verify.json", "verify", from_hub, *short)
    benched = saved(
        tmp_path / "bench.json", "bench", from_hub, *short, "--rounds", "1", "--threads", "1"
    )
    output = tmp_path / "README.md"
    given = "--license", "apache-2.0", "--verify", verified, "--bench", benched
    done = run("card", from_hub, "-o", output, *given)
    assert done.returncode == 0
    assert not done.stderr
    card = ModelCard.load(output)
    assert card.data.to_dict() == {
        "base_model": HUB_ID,
        "base_model_relation": "quantized",
        "license": "apache-2.0",
        "library_name": "litert-lm",
        "pipeline_tag": "text-generation",
        "tags": [*TAGS, "speculative-decoding", "mtp", "int8"],
    }
    assert f"[{HUB_ID}](https://huggingface.co/{HUB_ID}) at `{COMMIT}`" in card.text
    assert json.loads(verified.read_text())["headline"] in card.text
    sides = json.loads(benched.read_text())["sides"]
    engine = [side for side in sides if side["runtime"] == "stock engine"]
    assert len(engine) == 2
    for side in engine:
        mtp, speed = "on" if side["mtp"] else "off", f"{side['tokens_per_second']:.1f}"
        assert f"| stock engine | {mtp} | {speed} |" in card.text
    assert run("card", from_hub, "-o", output, *given).returncode == 1  # it exists


def test_the_card_of_a_bundle_without_drafter_claims_nothing_of_drafts(plain_bundle: Path) -> None:
    done = run("card", plain_bundle)
    card = ModelCard(done.stdout)
    assert card.data.to_dict() == {
        "library_name": "litert-lm",
        "pipeline_tag": "text-generation",
        "tags": [*TAGS, "int8"],
    }
    assert "base_model is left out" in done.stderr
    assert "license is left out" in done.stderr
    for word in ("speculative", "draft", "verify", "tokens/s"):
        assert word not in card.text


def test_its_commands_are_the_documented_ones(from_hub: Path) -> None:
    documented = (ROOT / "docs" / "run-it.md").read_text(encoding="utf-8")
    text = run("card", from_hub).stdout.replace(from_hub.name, "OUT.litertlm")
    blocks = text.split("```")[1::2]
    assert len(blocks) == 2
    for line in "\n".join(blocks).splitlines():
        assert line.removesuffix(" --speculative-decoding true") in documented or line in (
            "sh",
            "python",
        )


@pytest.mark.parametrize(
    ("front_matter", "expected"),
    [
        ("license: mit", {"license": "mit"}),
        (
            "license: other\nlicense_name: gemma\nlicense_link: https://ai.google.dev/gemma/terms",
            {
                "license": "other",
                "license_name": "gemma",
                "license_link": "https://ai.google.dev/gemma/terms",
            },
        ),
    ],
)
def test_the_licence_is_the_targets(
    front_matter: str, expected: dict[str, str], plain_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text(f"---\n{front_matter}\n---\n# Mine\n")
    found = ModelCard(run("card", plain_bundle, "--target", tmp_path).stdout).data.to_dict()
    assert {key: value for key, value in found.items() if key.startswith("license")} == expected


def test_what_is_refused(plain_bundle: Path, from_hub: Path, tmp_path: Path) -> None:
    about_other = tmp_path / "verify.json"
    about_other.write_text(
        json.dumps(
            {
                "tools": {},
                "headline": "",
                "rungs": [],
                "acceptance": [],
                "bundle": "other.litertlm",
                "nbytes": 1,
            }
        )
    )
    odd = tmp_path / "bench.json"
    odd.write_text(json.dumps({**{key: {} for key in BENCH_KEYS}, "bundle": "other.litertlm"}))
    (tmp_path / "README.md").write_text("---\ntags: [a]\n---\n")
    again = shutil.copyfile(plain_bundle, tmp_path / "other.litertlm")
    about_again = json.loads(about_other.read_text()) | {"nbytes": again.stat().st_size}
    for key, value in (("tools", []), ("acceptance", [[1]])):
        (tmp_path / f"{key}.json").write_text(json.dumps(about_again | {key: value}))
    for arguments, code, said in (
        (
            (from_hub, "--verify", about_other),
            1,
            "expected a report about from-hub.litertlm, found one about other",
        ),
        ((again, "--verify", about_other), 1, "before it was made again"),
        ((again, "--bench", odd), 1, "a report is of another version of mtp-export (KeyError"),
        ((again, "--verify", tmp_path / "tools.json"), 1, "of another version of mtp-export"),
        ((again, "--verify", tmp_path / "acceptance.json"), 1, "of another version of mtp-export"),
        ((again, "--bench", about_other), 1, "expected what `mtp-export bench --json` prints"),
        ((again, "--base-model", "mine"), 2, "expected a hub id (owner/name), found 'mine'"),
        ((again, "--target", tmp_path), 1, "the card says no license; give --license ID"),
        ((again, "--target", TINY_TARGET), 1, "there is no model card; give --license ID"),
        ((again, "--target", TINY_TARGET, "--license", "mit"), 2, "give --license, or --target"),
        ((TINY_TARGET,), 1, "expected a .litertlm bundle"),
    ):
        done = run("card", *arguments)
        assert done.returncode == code
        assert said in done.stderr
        assert not done.stdout


@pytest.mark.parametrize("front", ["a: [", "- a", "a: !!python/name:os.system", "[" * 5000, "\x00"])
def test_front_matter_that_is_none(front: str, tmp_path: Path) -> None:
    """Whatever YAML's reader makes of it, the answer is one sentence."""
    card = tmp_path / "README.md"
    card.write_text(f"---\n{front}\n---\nText")
    with pytest.raises(CheckpointError, match="the front matter cannot be read"):
        read_card(card)


def test_a_card_without_front_matter(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("Text")
    assert read_card(tmp_path / "README.md") == {}
