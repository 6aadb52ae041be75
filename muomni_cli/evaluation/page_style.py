"""How the page of an evaluation looks, beside what all pages share: its plots, samples and marks."""

from __future__ import annotations

STYLE = """
:root { --floor: #a23b00; --ceiling: #57468c; --right: #12703a; --wrong: #b01c2e; }
@media (prefers-color-scheme: dark) {
  :root { --floor: #f59b62; --ceiling: #b9a7f2; --right: #5fd08c; --wrong: #ff8592; }
}
.cards td { white-space: nowrap; }
.sentences td { overflow-wrap: anywhere; }
.sentences td:not(.figure) { min-width: 10rem; }
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
"""
