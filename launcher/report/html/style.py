"""The style sheet of the HTML report: light and dark by what the reader's system prefers."""

from __future__ import annotations

from dni_async.launcher.report.html.timeline.drawing import DRAWING_STYLE

__all__ = ["STYLE"]

DASHES = ("none", "8 4", "2 3", "10 3 2 3", "5 2", "1 2")  # as the dashboard's charts have them
PRINT = """
@media print {
  :root { color-scheme: light; }
  body { max-width: none; padding: 0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { font-size: 12px; } section { break-inside: avoid; }
  .charts { grid-template-columns: 1fr 1fr; } .scroll { overflow: visible; }
  table { font-size: .72rem; } th, td { white-space: normal; padding: .2rem .25rem; }
  svg.meter { width: 2.5rem; }
}
"""
STYLE = (
    DRAWING_STYLE
    + """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1d232b; --soft: #5d6875; --edge: #dfe3e8;
  --rest: #d5dae1; --good: #0b7a53; --bad: #b3401a;
  --hue-0: #1769aa; --hue-1: #e08a00; --hue-2: #00876c; --hue-3: #b5517f; --hue-4: #6a5acd;
  --hue-5: #3fa7d6; --hue-6: #a06a2c; --hue-7: #7a8793; --hue-8: #f2c14e; --hue-9: #8fb339;
  --hue-10: #d98a6a; --hue-11: #4f5d9e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161b; --card: #1b2128; --ink: #e6eaef; --soft: #97a3b0; --edge: #2d353f;
    --rest: #3a444f; --good: #45c795; --bad: #ff9166;
    --hue-0: #5aa9e6; --hue-1: #f5b041; --hue-2: #35c2a0; --hue-3: #e08ab0; --hue-4: #a79bf0;
    --hue-5: #8fd3f4; --hue-6: #cf9e63; --hue-7: #93a0ad; --hue-8: #ffe08a; --hue-9: #b7d86a;
    --hue-10: #f0b49c; --hue-11: #8c9be0;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 66rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif;
}
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 0 0 .75rem; } * + h2 { margin-top: 1.1rem; }
header p { margin: .15rem 0 1.25rem; color: var(--soft); }
section {
  background: var(--card); border: 1px solid var(--edge); border-radius: 10px;
  padding: 1.1rem 1.25rem; margin-bottom: 1rem; min-width: 0;
}
.scroll { overflow-x: auto; }
.verdict .said { font-size: 1.2rem; font-weight: 600; margin: 0; }
.cards { display: grid; gap: 1rem; margin-bottom: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
.cards section { margin: 0; }
.cards b { display: block; font-size: 1.6rem; line-height: 1.25; font-weight: 650; }
.cards p { margin: 0; } .cards p, .note, .empty { color: var(--soft); font-size: .87rem; }
.note { margin: .6rem 0 0; }
.charts { display: grid; gap: 1.2rem 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(21.5rem, 100%), 1fr)); }
.charts + .scroll, .scroll + .scroll { margin-top: 1.1rem; }
.bars { display: grid; grid-template-columns: auto 1fr auto; gap: .4rem .6rem; align-items: center;
  font-size: .83rem; color: var(--soft); font-variant-numeric: tabular-nums; }
svg.bar { height: 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 500; font-size: .83rem; }
th, td { padding: .35rem .45rem; text-align: right; border-bottom: 1px solid var(--edge);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr:last-child td { border-bottom: 0; }
td.text { text-align: left; white-space: normal; word-break: break-word; }
.good { color: var(--good); } .bad { color: var(--bad); } .soft { color: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin: 0 0 .6rem; padding: 0;
  list-style: none; font-size: .87rem; color: var(--soft); }
.legend i { display: inline-block; width: .75rem; height: .75rem; border-radius: 3px;
  margin-right: .4rem; vertical-align: -.08rem; }
ul.said { margin: .8rem 0 0; padding-left: 1.1rem; } ul.said li { margin: .25rem 0; }
details summary { cursor: pointer; font-weight: 600; } details .scroll { margin-top: .8rem; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); font-size: 12px; } svg text.title { font-weight: 600; }
svg text.tick { fill: var(--soft); }
svg .grid { stroke: var(--edge); }
svg .curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg.swatch { display: inline-block; width: 1.75rem; margin-right: .4rem; vertical-align: .1em; }
svg.meter { display: inline-block; width: 5rem; margin-right: .5rem; vertical-align: middle; }
.rest { fill: var(--rest); background: var(--rest); }
"""
    + "".join(
        f".hue-{n} {{ fill: var(--hue-{n}); background: var(--hue-{n}); }}\n"
        f".curve.hue-{n} {{ stroke: var(--hue-{n}); "
        f"stroke-dasharray: {DASHES[n % len(DASHES)]}; }}\n"
        for n in range(12)
    )
    + PRINT
)
