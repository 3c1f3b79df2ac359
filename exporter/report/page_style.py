"""The look of the HTML report, light and dark."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f7f7f5; --card: #ffffff; --ink: #1b1b1a; --soft: #62625e; --rule: #dededa;
  --pass: #187a3c; --pass-bg: #e4f4e9; --fail: #b3261e; --fail-bg: #fbe9e7;
  --skip: #6b6b66; --skip-bg: #ececea; --tie: #8a5a00; --tie-bg: #fff1d6;
  --s1: #2a6fd6; --s2: #c2571a; --s3: #7a4fc0; --s4: #62625e; --bar: #2a6fd6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #161615; --card: #20201e; --ink: #ecece8; --soft: #a3a39c; --rule: #3a3a37;
    --pass: #6fd08f; --pass-bg: #17321f; --fail: #ff9b92; --fail-bg: #411815;
    --skip: #a3a39c; --skip-bg: #2c2c2a; --tie: #f0c265; --tie-bg: #3c2e10;
    --s1: #6aa5ff; --s2: #f0945a; --s3: #b596f0; --s4: #a3a39c; --bar: #6aa5ff;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 880px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 6px; }
h2 { font-size: 18px; margin: 40px 0 12px; }
p { margin: 6px 0; }
.soft, .facts { color: var(--soft); font-size: 13.5px; }
.verdict { border-radius: 12px; padding: 20px 24px; border: 1px solid; }
.verdict.pass { background: var(--pass-bg); border-color: var(--pass); }
.verdict.fail { background: var(--fail-bg); border-color: var(--fail); }
.verdict ul { margin: 8px 0 0; padding-left: 20px; }
.note { background: var(--tie-bg); color: var(--tie); border-radius: 8px; padding: 8px 14px; }
details { background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  margin: 8px 0; padding: 0 16px; }
details[open] { padding-bottom: 14px; }
summary { cursor: pointer; padding: 11px 0; display: flex; gap: 12px; align-items: baseline;
  list-style: none; }
summary::-webkit-details-marker { display: none; }
summary .title { font-weight: 600; flex: 1; }
summary .tightest { color: var(--soft); font-size: 13px; text-align: right; }
.badge { font-size: 12px; font-weight: 700; border-radius: 999px; padding: 2px 10px;
  white-space: nowrap; min-width: 58px; text-align: center; }
.badge.pass { background: var(--pass-bg); color: var(--pass); }
.badge.fail { background: var(--fail-bg); color: var(--fail); }
.badge.skipped { background: var(--skip-bg); color: var(--skip); }
.badge.tie { background: var(--tie-bg); color: var(--tie); min-width: 0; }
table { border-collapse: collapse; width: 100%; font-size: 14px; margin: 8px 0; }
th { text-align: left; color: var(--soft); font-weight: 500; font-size: 12.5px; }
th, td { padding: 4px 8px 4px 0; border-bottom: 1px solid var(--rule); vertical-align: baseline; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.outside td { color: var(--fail); font-weight: 600; }
.problems { color: var(--fail); margin: 8px 0; padding-left: 20px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 14px 16px; }
figure + figure { margin-top: 12px; }
figcaption { font-weight: 600; margin-bottom: 6px; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font-size: 12px; text-anchor: middle; }
svg text.end { text-anchor: end; }
svg text.value { fill: var(--ink); font-weight: 600; font-size: 13px; }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .limit { stroke: var(--fail); stroke-width: 1.5; stroke-dasharray: 6 4; }
svg .bar { fill: var(--bar); }
svg .line { fill: none; stroke-width: 1.5; opacity: .8; }
svg .line.s1 { stroke: var(--s1); } svg .line.s2 { stroke: var(--s2); }
svg .line.s3 { stroke: var(--s3); }
svg .line.s4 { stroke: var(--s4); }
svg circle.s1 { fill: var(--s1); } svg circle.s2 { fill: var(--s2); }
svg circle.s3 { fill: var(--s3); }
svg circle.s4 { fill: var(--s4); }
.key { display: inline-block; width: 11px; height: 11px; border-radius: 50%; margin-right: 6px; }
.key.s1 { background: var(--s1); } .key.s2 { background: var(--s2); }
.key.s3 { background: var(--s3); }
.key.s4 { background: var(--s4); }
.legend { font-size: 13px; color: var(--soft); }
.answer { background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 14px 18px; margin: 10px 0; }
.answer .prompt { color: var(--soft); margin-bottom: 8px; }
.tokens { line-height: 2.05; white-space: pre-wrap; overflow-wrap: anywhere; }
.tok { border-radius: 4px; padding: 2px 0; }
.tok.d { background: color-mix(in srgb, var(--s1) 24%, transparent);
  border-bottom: 2px solid var(--s1); }
.tok.tie { outline: 2px dashed var(--tie); outline-offset: 1px; }
.tok.rejected { border-bottom: 2px dotted var(--s2); }
@media (max-width: 600px) { summary { flex-wrap: wrap; } summary .tightest { width: 100%;
  text-align: left; } }
"""
