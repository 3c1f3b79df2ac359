"""Joins the reports of a device into one JSON document on stdout, with a summary on stderr.

Usage: collect_reports.py REPORTS LOG SOC

REPORTS has one JSON object a line, LOG is what ``adb logcat -d`` said. Exit code 1 if all reports are errors.
"""

from __future__ import annotations

import datetime
import json
import re
import sys
from pathlib import Path
from typing import Any

SUCCESS_RATE = re.compile(r"MTP Drafter - Success rate: ([0-9.]+)")


def main() -> int:
    """Collect, print, summarise."""
    reports_path, log_path, soc = sys.argv[1:]
    reports = [json.loads(line) for line in Path(reports_path).read_text().splitlines()]
    rates = SUCCESS_RATE.findall(Path(log_path).read_text(errors="replace"))
    figures = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "soc": soc,
        "success_rates_in_log": [float(rate) for rate in rates],
        "reports": reports,
    }
    print(json.dumps(figures, indent=2, ensure_ascii=False))
    for report in reports:
        print(_summary(report), file=sys.stderr)
    return 1 if all("error" in report for report in reports) else 0


def _summary(report: dict[str, Any]) -> str:
    if "error" in report:
        return f"failed: {report['error']}"
    off, on = report["mtp_off"]["tokens_per_second"], report["mtp_on"]["tokens_per_second"]
    same = "same text" if report["identical_text"] else "TEXT DIFFERS"
    return (
        f"{report['accelerator']}: {off:.1f} -> {on:.1f} tokens/s, {report['ratio']:.2f}x, {same}"
    )


if __name__ == "__main__":
    sys.exit(main())
