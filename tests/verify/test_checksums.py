"""The first rung: a damaged byte is found, its section is named, and nothing runs on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.bundle.layout import SHA256_KEY
from exporter.bundle.reader import HF_TOKENIZER, LLM_METADATA, BundleSection, open_bundle
from exporter.contract.names import Accelerator, Section
from exporter.progress import SilentReporter
from exporter.verify.evidence import VerifyRequest
from exporter.verify.ladder import climb
from exporter.verify.report import Report
from exporter.verify.rung import Verdict
from exporter.verify.rungs.checksums import TITLE, compare_sections
from tests.damage import damaged


@pytest.fixture(scope="module")
def bundle(tiny_bundles: dict[str, Path]) -> Path:
    return tiny_bundles["int8"]


def verified(bundle: Path) -> Report:
    asked = VerifyRequest(
        bundle, None, None, ("Who?",), Accelerator.CPU, threads=1, max_new_tokens=4
    )
    return climb(asked, SilentReporter())


def places(bundle: Path) -> dict[str, BundleSection]:
    """Sections of each kind by the name that a report gives them."""
    sections = open_bundle(bundle).sections
    weights = open_bundle(bundle).model(Section.PREFILL_DECODE)
    assert weights is not None
    by_type = {section.data_type: section for section in sections}
    return {
        "tf_lite_prefill_decode": weights,
        HF_TOKENIZER: by_type[HF_TOKENIZER],
        LLM_METADATA: by_type[LLM_METADATA],
        "mtp_export_manifest": next(s for s in sections if s.label == "mtp_export_manifest"),
    }


@pytest.mark.parametrize(
    "name", ["tf_lite_prefill_decode", HF_TOKENIZER, LLM_METADATA, "mtp_export_manifest"]
)
def test_a_flipped_byte(name: str, bundle: Path, tmp_path: Path) -> None:
    """In the middle of the section: for a model, in the middle of its weights."""
    section = places(bundle)[name]
    report = verified(damaged(bundle, tmp_path, section.begin + section.nbytes // 2))
    assert [rung.key for rung in report.failed] == ["checksums"]
    assert f"the {name} section" in report.failed[0].problems[0]
    assert {rung.note for rung in report.rungs[1:]} == {"the bundle is damaged"}
    assert report.what_now == (("checksums", TITLE.advice),)


def test_an_intact_bundle(bundle: Path) -> None:
    rung = compare_sections(open_bundle(bundle), SilentReporter())
    assert rung.verdict is Verdict.PASS
    assert rung.figures[0].value == len(open_bundle(bundle).sections)
    assert rung.note == ""


def test_a_bundle_without_checksums(bundle: Path, tmp_path: Path) -> None:
    """As other tools write them: the keys are there under another name."""
    content = bundle.read_bytes()
    path = tmp_path / "other.litertlm"
    for key in (SHA256_KEY, f"graph_{SHA256_KEY}"):
        content = content.replace(f"{key}\0".encode(), f"{key[:-1]}_\0".encode())
    path.write_bytes(content)
    rung = compare_sections(open_bundle(path), SilentReporter())
    assert rung.verdict is Verdict.SKIPPED
    assert "taken on trust" in rung.note
