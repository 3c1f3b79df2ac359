"""``export`` of a checkpoint that sees, as a user calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.bundle.inspection import inspect_bundle
from exporter.contract.names import Section
from tests.bundles import TINY_DRAFTER, TINY_TARGET
from tests.command import run
from tests.export.command import refused
from tests.once import lowering
from tests.vision.targets import PLANTED, planted_tower, write_target

PICTURES = {Section.VISION_ENCODER, Section.VISION_ADAPTER, Section.END_OF_VISION}


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tower = planted_tower({"red": 611, "green": 634, "blue": 629})
    return write_target(tmp_path_factory.mktemp("seeing"), PLANTED, tower)


@pytest.mark.slow
@pytest.mark.parametrize("vision", [True, False])
def test_pictures_can_be_left_out(seeing: Path, tmp_path: Path, vision: bool) -> None:
    output = tmp_path / "x.litertlm"
    options = ["--image-tokens", "4,1"] if vision else ["--no-vision"]
    with lowering():
        done = run("export", seeing, TINY_DRAFTER, "-o", output, *options)
    assert done.returncode == 0, done.stderr
    inspection = inspect_bundle(output)
    assert inspection.problems == ()
    found = {section for section in PICTURES if section.value in inspection.models}
    assert found == (PICTURES if vision else set())
    said = "the bundle takes no pictures: --no-vision leaves the tower out"
    assert (said in done.stderr) != vision
    assert ("vision_tower" in done.stderr) != vision  # among what is ignored


def test_budgets_of_a_tower_that_is_left_out(tmp_path: Path) -> None:
    output = tmp_path / "x.litertlm"
    done = run(
        "export", TINY_TARGET, TINY_DRAFTER, "-o", output, "--no-vision", "--image-tokens", "70"
    )
    assert done.returncode == 2
    assert "--image-tokens is for bundles that take pictures; leave out --no-vision" in done.stderr


@pytest.mark.slow
def test_budgets_where_there_can_be_no_pictures(tmp_path: Path) -> None:
    output = tmp_path / "x.litertlm"
    done = run("export", TINY_TARGET, TINY_DRAFTER, "-o", output, "--image-tokens", "70")
    refused(done, "the chat template has no place for them", "--image-tokens is of no use")
    assert not output.exists()
