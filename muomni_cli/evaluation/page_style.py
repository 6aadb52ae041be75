"""How the page of an evaluation looks, by day and by night, on a desk and on a phone."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fff; --raised: #f4f5f7; --text: #1c2127; --soft: #565e69; --line: #d3d8de;
  --mark: #0b62b8; --floor: #a23b00; --ceiling: #57468c; --right: #12703a; --wrong: #b01c2e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --raised: #1f242a; --text: #e6e9ed; --soft: #a7b0bb; --line: #3a424c;
    --mark: #69b1ff; --floor: #f59b62; --ceiling: #b9a7f2; --right: #5fd08c; --wrong: #ff8592;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem; max-width: 64rem; background: var(--ground); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .5rem; overflow-wrap: anywhere; }
h3 small { display: inline-block; font-weight: normal; color: var(--soft); }
a { color: var(--mark); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; list-style: none; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { color: var(--soft); font-size: .8rem; white-space: nowrap; }
.cards td { white-space: nowrap; }
td.figure, th.figure { text-align: right; font-variant-numeric: tabular-nums; }
.about td, .sentences td { overflow-wrap: anywhere; }
.sentences td:not(.figure) { min-width: 10rem; }
figure { margin: 1rem 0; max-width: 46rem; }
svg { overflow: visible; }
.plot { display: block; }
.plot text { font-size: 12px; fill: var(--text); paint-order: stroke; stroke: var(--ground); stroke-width: 3px; }
.plot text.number { fill: var(--soft); font-size: 11px; }
.plot text.value { font-weight: 600; font-variant-numeric: tabular-nums; }
.grid, .track { stroke: var(--line); stroke-width: 1; }
.grid { stroke-dasharray: 2 4; }
.whisker { stroke: var(--mark); stroke-width: 2; fill: none; }
.dot { fill: var(--mark); }
.floor { stroke: var(--floor); stroke-width: 2; fill: none; }
.ceiling { stroke: var(--ceiling); stroke-width: 2; fill: none; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; padding: 0; list-style: none; font-size: .9rem; }
.legend li { display: flex; align-items: center; gap: .5rem; }
.legend svg { flex: none; }
.samples {
  display: grid; gap: .75rem; padding: 0; list-style: none; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr));
}
.sample { background: var(--raised); border-radius: .5rem; padding: .75rem; border-left: .3rem solid; }
.sample.right { border-left-color: var(--right); }
.sample.wrong { border-left-color: var(--wrong); border-left-style: double; }
.sample p { margin: 0 0 .5rem; font-weight: 600; }
.sample.right p { color: var(--right); }
.sample.wrong p { color: var(--wrong); }
.sample img { display: block; width: 160px; height: auto; image-rendering: pixelated; margin-bottom: .5rem; }
.sample audio { display: block; width: 100%; height: 2.5rem; }
.sample dl { margin: 0; display: grid; grid-template-columns: max-content 1fr; gap: .15rem .75rem; font-size: .95rem; }
.sample dt { color: var(--soft); }
.sample dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
.sample .media { grid-column: 1 / -1; }
details { margin: .75rem 0; }
summary { cursor: pointer; }
:focus-visible { outline: 2px solid var(--mark); outline-offset: 2px; }
"""
