"""Frame and building blocks of self-contained HTML pages.

Images and audio are data URIs, and the content security policy forbids the page to load anything.
"""

from __future__ import annotations

import io
import wave
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"

# Colors for light and dark mode, text, tables and figures, for wide and narrow screens.
STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fff; --raised: #f4f5f7; --text: #1c2127; --soft: #565e69; --line: #d3d8de;
  --mark: #0b62b8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --raised: #1f242a; --text: #e6e9ed; --soft: #a7b0bb; --line: #3a424c;
    --mark: #69b1ff;
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
td.figure, th.figure { text-align: right; font-variant-numeric: tabular-nums; }
.about td { overflow-wrap: anywhere; }
figure { margin: 1rem 0; max-width: 46rem; }
svg { overflow: visible; }
details { margin: .75rem 0; }
summary { cursor: pointer; }
:focus-visible { outline: 2px solid var(--mark); outline-offset: 2px; }
"""


def document(title: str, style: str, body: Sequence[str]) -> str:
    """A whole page as text, to be written in UTF-8. ``title`` is escaped here; ``style``: CSS after :data:`STYLE`;
    ``body``: HTML inside ``main``."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def facts(named: Mapping[str, str]) -> str:
    """Facts by name, as a table."""
    rows = [f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in named.items()]
    return '<table class="about">\n<tbody>\n' + "\n".join(rows) + "\n</tbody>\n</table>"


def table(
    kind: str, label: str, headings: Sequence[str], cells: Iterable[Sequence[str]], left_aligned: Iterable[str]
) -> str:
    """A table that scrolls horizontally on narrow screens, also with the keyboard.

    Args:
        kind: its CSS class.
        label: for screen readers.
        headings: of the columns.
        cells: rows of text; escaped here.
        left_aligned: headings of text columns; the others are numbers and right-aligned.
    """
    classes = ["" if heading in left_aligned else ' class="figure"' for heading in headings]
    head = "".join(f'<th scope="col"{align}>{escape(name)}</th>' for align, name in zip(classes, headings, strict=True))
    rows = [
        "<tr>" + "".join(f"<td{align}>{escape(cell)}</td>" for align, cell in zip(classes, row, strict=True)) + "</tr>"
        for row in cells
    ]
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(label)}">\n<table class="{kind}">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody>\n</table>\n</div>"
    )


def data_uri(media_type: str, data: bytes) -> str:
    """``data:image/png;base64,...``."""
    return f"data:{media_type};base64,{b64encode(data).decode('ascii')}"


def audio(label: str, wav: bytes) -> str:
    """A player of a WAV file."""
    uri = data_uri("audio/wav", wav)
    return f'<audio controls preload="metadata" aria-label="{escape(label)}" src="{uri}"></audio>'


def wav(samples: NDArray[Any], rate: int) -> bytes:
    """(N,) samples between -1 and 1 as a WAV file, 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes())
    return file.getvalue()
