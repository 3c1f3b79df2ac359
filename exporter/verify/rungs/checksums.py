"""Rung: every byte of every section is the one that was exported.

The first rung, because a damaged byte can make any other one wrong, or stop the process that runs it.
"""

from __future__ import annotations

from exporter.bundle.integrity import Condition, checked_sections
from exporter.bundle.reader import Bundle
from exporter.progress import Reporter
from exporter.verify.evidence import Evidence
from exporter.verify.rung import Figure, Rung, Title

TITLE = Title(
    "checksums",
    "Every section has the bytes that were exported",
    "Copy the bundle again from where it was exported, or export it again; nothing else was looked at.",
    blocks="the bundle is damaged",
)

REASON = "bytes are equal; there is nothing to tolerate"


def judge(evidence: Evidence) -> Rung:
    """Compare all sections, weights included; skipped where none has a checksum."""
    return compare_sections(evidence.bundle, evidence.reporter)


def compare_sections(bundle: Bundle, reporter: Reporter) -> Rung:
    """All sections of a bundle."""
    total = sum(section.nbytes for section in bundle.sections)
    with reporter.stage("Comparing the sections with their checksums", total) as advance:
        found = checked_sections(bundle, weights=True, advance=advance)
    damage = [section.damage() for section in found if section.condition is Condition.DAMAGED]
    unknown = [section.name for section in found if section.condition is Condition.UNKNOWN]
    if not damage and not any(section.sealed for section in found):
        return TITLE.skipped(
            "the bundle has no checksums (another tool made it, or an older version), so its bytes are "
            "taken on trust"
        )
    figures = (
        Figure("sections compared", len(found) - len(unknown)),
        Figure("sections that differ", len(damage), 0),
    )
    note = f"without a checksum, taken on trust: {', '.join(unknown)}" if unknown else ""
    return TITLE.judged(figures, REASON, problems=damage, note=note)
