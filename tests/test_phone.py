"""Every report on a phone, in a real browser: nothing is cut off, nothing makes the page wider."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path

import pytest

from exporter.cli.bench_page import render_html as bench_page
from exporter.compare.report_html import render_html as comparison_page
from exporter.tune.report_html import render_html as tuning_page
from exporter.verify.report_html import render_html as verify_page
from tests.browser import CHROMIUM, in_browser
from tests.compare.comparisons import FLOAT32, INT8, MIXED_CLIP, SMALLEST, comparison
from tests.runtime.benches import bench
from tests.tune.outcomes import STOCK, TUNED, compared, outcome
from tests.verify.test_report import make_report

WIDTH = 360
"""Of a phone, in CSS pixels."""

MEASURE = """
<script>addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument;
    page.querySelectorAll("details").forEach(each => each.open = true);
    const scrolls = e => e && (["auto", "scroll"].includes(frame.contentWindow.getComputedStyle(e).overflowX)
      || scrolls(e.parentElement));
    const cut = e => e.getBoundingClientRect().right > frame.contentWindow.innerWidth && !scrolls(e);
    const outside = e => {
      const words = e.getBoundingClientRect(), plot = e.closest("svg").getBoundingClientRect();
      return words.left < plot.left || words.right > plot.right;
    };
    const lost = [...page.querySelectorAll("td, th, p, h1, h2, li, summary, svg")].filter(cut)
      .concat([...page.querySelectorAll("svg text")].filter(outside));
    return {name: frame.title, words: page.body.innerText.length,
      wider: page.documentElement.scrollWidth - page.documentElement.clientWidth,
      lost: lost.map(e => e.textContent)};
  });
  document.body.textContent = JSON.stringify(found);
});</script>"""

PAGES = {
    "verify": verify_page(make_report(failing=True)),
    "bench": bench_page(bench(1.82, notes=("a note",))),
    "quantize-report": comparison_page(comparison(FLOAT32, INT8, MIXED_CLIP, SMALLEST)),
    "tune": tuning_page(outcome(compared(STOCK, TUNED, 0.02))),
}


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_pages_fit_a_phone(tmp_path: Path) -> None:
    frames = []
    for name, page in PAGES.items():
        (tmp_path / f"{name}.html").write_text(page, encoding="utf-8")
        frames.append(f'<iframe title="{name}" src="{name}.html" style="width:{WIDTH}px"></iframe>')
    all_pages = tmp_path / "all.html"
    all_pages.write_text("\n".join([MEASURE, *frames]), encoding="utf-8")
    dom = in_browser(all_pages, tmp_path).stdout
    written = dom.partition("<body>")[2].partition("</body>")[0]
    found = {each["name"]: each for each in json.loads(unescape(written))}
    assert found.keys() == PAGES.keys()
    for name, each in found.items():
        assert each["words"] > 500, name
        assert each["wider"] == 0, name
        assert each["lost"] == [], name
