"""The parts of the ladder that can be wrong on their own: comparisons, near-ties, prompts, notes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exporter.bundle.reader import open_bundle
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.contract.names import Section
from exporter.progress import SilentReporter
from exporter.verify.allowed import allowed_by_noise, nearest_to_limit
from exporter.verify.answers import Answered, PromptAnswers
from exporter.verify.compare import bridged, compare_choices, position_errors, worst
from exporter.verify.rung import Verdict
from exporter.verify.rungs.contract import differing_adapters, differing_files
from exporter.verify.rungs.loop import compare_answers
from exporter.verify.sides.golden import draft_starts, probes
from exporter.verify.sides.noise import Noise, moved_within_a_step
from exporter.verify.sides.stored_weights import (
    StoredConstant,
    UnreadableWeightError,
    find_constant,
    stored_constants,
)
from exporter.verify.texts import DEFAULT_PROMPTS, PromptFileError, read_prompts
from exporter.verify.tolerances import GRAPH_FLOAT, MOST_NOISE, NOISES
from runtime_py.same_text import first_difference
from tests.bundles import TINY_DRAFTER, TINY_TARGET, export_tiny
from tests.weight_values import adapted


def test_errors_are_relative_and_by_position() -> None:
    reference = np.array([[3.0, 4.0], [0.0, 10.0]])
    ours = np.array([[3.0, 4.5], [0.0, 10.0]])
    assert np.allclose(position_errors(ours, reference), [0.1, 0.0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_infinitely_wrong(bad: float) -> None:
    reference = np.ones((2, 3))
    ours = reference.copy()
    ours[1, 1] = bad
    assert worst(position_errors(ours, reference)) == np.inf


def test_the_figure_is_the_position_nearest_to_its_limit() -> None:
    """Not the largest error: 0.3 is allowed where it is, 0.2 is not."""
    figure = nearest_to_limit("x", np.array([0.3, 0.2, 0.01]), np.array([0.4, 0.1, 0.02]))
    assert (figure.value, figure.limit, figure.ok) == (0.2, 0.1, False)


@pytest.mark.parametrize(
    ("noise", "allowed"),
    [(0.01, 0.01 * NOISES), (0.0, GRAPH_FLOAT), (np.inf, MOST_NOISE * NOISES)],
)
def test_what_noise_allows(noise: float, allowed: float) -> None:
    """Never less than float32 may be off, and never as much as another output."""
    parts = (np.full(3, noise), np.full(3, noise), np.full(2, noise), np.empty((0, 3)))
    found = allowed_by_noise(Noise(*parts, np.empty((0, 3))))
    assert np.allclose(found.caches, allowed)
    assert found.most == pytest.approx(allowed)
    assert found.most < 1


def test_moving_within_a_step() -> None:
    """Rows as they are rounded: 255 steps between the least and the largest value, 0 among them."""
    rows = np.array([[-1.0, 0.5, 1.55], [2.0, 3.0, 5.1]], np.float32)
    moved = moved_within_a_step(rows, np.random.default_rng(0))
    steps = np.array([[2.55 / 255], [5.1 / 255]])
    assert (np.abs(moved - rows) <= steps / 2 + 1e-6).all()
    assert (moved != rows).all()


def test_near_ties_are_told_from_differences() -> None:
    """Margins 0.001 and 1 of the reference; noise 0.01."""
    reference = np.array([[1.0, 1.001, 0.0], [0.0, 1.0, 2.0], [5.0, 0.0, 0.0]])
    ours = np.array([[1.001, 1.0, 0.0], [0.0, 2.0, 1.0], [5.0, 0.0, 0.0]])
    choices = compare_choices(ours, reference, (10, 11, 12), 0.01)
    assert [tie.where for tie in choices.near_ties] == ["position 10"]
    assert [text.split(":")[0] for text in choices.differing] == ["position 11"]


def test_a_large_error_does_not_excuse_itself() -> None:
    reference = np.array([[10.0, 0.0]])
    assert bridged(reference + 1e-5, reference, 1e-4) == pytest.approx(2e-5)
    assert bridged(reference - 20, reference, 1e-4) == pytest.approx(2e-3)


def answer(greedy: tuple[int, ...], speculative: tuple[int, ...], margin: float) -> PromptAnswers:
    def answered(tokens: tuple[int, ...]) -> Answered:
        return Answered(tokens, (margin,) * len(tokens), (), ())

    return PromptAnswers("?", (1,), answered(greedy), answered(speculative))


def test_compare_answers() -> None:
    assert compare_answers([answer((1, 2), (1, 2), 5.0)], 0.1).verdict is Verdict.PASS
    parted = compare_answers([answer((1, 2), (1, 3), 5.0)], 0.1)
    assert parted.verdict is Verdict.FAIL
    assert "answer 1, token 2: 3 instead of 2" in parted.problems[0]
    tie = compare_answers([answer((1, 2), (1, 3), 0.05)], 0.1)
    assert tie.verdict is Verdict.PASS
    assert tie.near_ties[0].where == "answer 1, token 2"
    shorter = compare_answers([answer((1, 2), (1,), 0.05)], 0.1)
    assert shorter.verdict is Verdict.FAIL, "a missing token is no near-tie"


@pytest.mark.parametrize(
    ("one", "other", "at"), [("ab", "ab", None), ("ab", "ac", 1), ("ab", "abc", 2), ("", "", None)]
)
def test_first_difference(one: str, other: str, at: int | None) -> None:
    assert first_difference(one, other) == at


def test_probes_and_starts() -> None:
    assert probes(5, 10) == (0, 1, 2, 3, 4)
    assert probes(10, 4, most_elements=20) == (1, 3, 5, 7, 9)
    assert draft_starts(112, 64, 3) == (8, 24, 64, 65, 66, 108)
    assert draft_starts(20, 64, 3) == (8, 16)


def test_prompt_files(tmp_path: Path) -> None:
    assert read_prompts(None) == DEFAULT_PROMPTS
    file = tmp_path / "prompts.txt"
    file.write_text("one\n\n  two \n")
    assert read_prompts(file) == ("one", "two")
    file.write_text("\ufeffone\x0btwo\x1c\x85\u2028three\r\nfour", encoding="utf-8")
    assert read_prompts(file) == ("one\x0btwo\x1c\x85\u2028three", "four")
    file.write_text("\n")
    with pytest.raises(PromptFileError, match="found none"):
        read_prompts(file)
    with pytest.raises(PromptFileError, match=r"missing\.txt"):
        read_prompts(tmp_path / "missing.txt")


def test_a_weight_that_the_bundle_lacks() -> None:
    """Named, where the rung on weights has named it already and torch asks for it."""
    stored = {Section.PREFILL_DECODE: dict[str, StoredConstant]()}
    for section in (Section.PREFILL_DECODE, Section.MTP_DRAFTER):
        with pytest.raises(
            UnreadableWeightError, match=f"{section}: expected a weight norm, found"
        ):
            find_constant(stored, section, "norm")


@pytest.fixture(scope="module")
def int4_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_tiny(tmp_path_factory.mktemp("int4") / "tiny.litertlm", "int4")


@pytest.mark.slow
def test_another_checkpoint_is_said(int4_bundle: Path, tmp_path: Path) -> None:
    """Byte for byte: the same settings written differently are another file."""
    manifest = open_bundle(int4_bundle).manifest()
    assert manifest is not None
    same = {"target": open_checkpoint(TINY_TARGET), "drafter": open_checkpoint(TINY_DRAFTER)}
    assert differing_files(manifest, same, SilentReporter()) == []
    copied = tmp_path / "target"
    shutil.copytree(TINY_TARGET, copied)
    (copied / "config.json").write_text((copied / "config.json").read_text() + "\n")
    notes = differing_files(manifest, {"target": open_checkpoint(copied)}, SilentReporter())
    assert notes == ["the target's config.json is not the file the bundle was made from"]


@pytest.mark.slow
def test_stored_weights_read_back(int4_bundle: Path) -> None:
    """int4 codes and scales out of the graph are the rows that were rounded."""
    constants = stored_constants(open_bundle(int4_bundle))
    weight = constants[Section.PREFILL_DECODE]["target.layers.0.mlp.up_proj.weight"]
    assert (weight.dtype, weight.bits, weight.quantised) == ("int4", 4, True)
    rows = weight.floats(3, 5)
    assert rows.shape == (5, weight.row_length)
    codes = rows / weight.scales[3:8]
    assert np.allclose(codes, np.rint(codes), atol=1e-4)
    assert np.abs(codes).max() <= 7
    assert (np.abs(codes).max(axis=1) > 6.5).all()


def test_reference_processes_import_none_of_our_models() -> None:
    """One of them imports the other two."""
    sides = "exporter.verify.sides"
    code = (
        f"import json, sys, {sides}.reference_replies\n"
        "ours = ('exporter', 'runtime_py', 'quantize')\n"
        "print(json.dumps([name for name in sys.modules if name.startswith(ours)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    references = ("reference", "reference_tower", "reference_replies")
    known = {"exporter", "exporter.verify", sides, *(f"{sides}.{name}" for name in references)}
    assert set(json.loads(done.stdout)) == known


def test_verifying_a_bundle_alone_needs_no_torch() -> None:
    code = (
        "import sys, exporter.verify.ladder, exporter.verify.report_html\n"
        "print([n for n in ('torch', 'transformers', 'litert_torch') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_adapter_that_is_missing_is_told_first() -> None:
    """Or one that is too many; a target that has it merged in already may be right."""
    plain = {"target": open_checkpoint(TINY_TARGET)}
    with_adapter = {"target": adapted(TINY_TARGET, TINY_TARGET.parent / "tools")}
    made_with = {"sources": {"target": {"adapter": {"source": "someone/lora", "revision": None}}}}
    made_without = {"sources": {"target": {"adapter": None}}}
    assert differing_adapters(made_with, with_adapter) == []
    assert differing_adapters(made_without, plain) == []
    (note,) = differing_adapters(made_with, plain)
    assert "made with the adapter someone/lora: add --lora" in note
    (note,) = differing_adapters(made_without, with_adapter)
    assert "leave out --lora" in note
