"""The HTML report of an evaluation, and the samples that it shows."""

from __future__ import annotations

import datetime
import io
import platform
import wave
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.metrics import HEADINGS, EvalSample, MetricResult, rows
from muomni_cli.core.extras import __version__
from muomni_cli.core.files import write_text
from muomni_cli.eval.report_plots import legend, plots

if TYPE_CHECKING:
    from muomni_cli.recipe import Recipe

EVENLY_SPACED, WRONG = 4, 4
"""Samples taken evenly from all examples of a metric, and further ones from the wrong answers."""

RGB = 3

FULL_SCALE = 32767

POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"

TEXT_COLUMNS = frozenset({"STAGE", "TASK", "METRIC", "RESAMPLED BY"})
"""Columns of text; all others hold numbers and are right-aligned."""

NOTHING = "<em>(nothing)</em>"


def select_samples(right: Sequence[bool]) -> list[int]:
    """Indices of the examples to show, in order, given which answers are right."""
    spread = np.linspace(0, len(right) - 1, min(EVENLY_SPACED, len(right))).astype(int).tolist() if right else []
    wrong = [index for index, one in enumerate(right) if not one and index not in spread]
    return sorted({*spread, *wrong[:WRONG]})


def media_of(recipe: Recipe, modality: str, inputs: NDArray[Any]) -> dict[str, bytes]:
    """The input of an encoder as ``picture`` (PNG) or ``sound`` (WAV); empty if it is neither."""
    if inputs.ndim == RGB and inputs.shape[0] == RGB and inputs.dtype == np.uint8:
        return {"picture": png(inputs)}
    chosen = recipe.encoders.get(modality)
    rate = getattr(chosen.config, "sample_rate", None) if chosen else None
    if inputs.ndim == 1 and isinstance(rate, int):
        return {"sound": wav(inputs, rate)}
    return {}


def png(pixels: NDArray[np.uint8]) -> bytes:
    """(3,H,W) -> PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(file, "PNG")
    return file.getvalue()


def wav(samples: NDArray[Any], rate: int) -> bytes:
    """(N,) samples between -1 and 1 -> WAV file, 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((np.clip(samples, -1, 1) * FULL_SCALE).round().astype("<i2").tobytes())
    return file.getvalue()


def write_page(path: Path, model: str, recipe: Recipe, results: Sequence[MetricResult]) -> None:
    """Write the report of a model as one HTML file, atomically.

    Raises:
        MuomniError: it cannot be written.
    """
    about = {
        "model": model,
        "recipe": f"{recipe.name}: {recipe.doc}" if recipe.doc else recipe.name,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "muomni": __version__,
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }
    write_text(path, page(f"Evaluation of {model}", about, results))


def page(title: str, about: Mapping[str, str], results: Sequence[MetricResult]) -> str:
    """The report as HTML text, to be written as UTF-8. It depends on the arguments alone.

    Args:
        title: heading of the page.
        about: rows of the table at the top: what was evaluated, when and how.
        results: the metrics, in the order of their stages and tasks.
    """
    stages = list(dict.fromkeys(result.stage for result in results))
    body = [f"<h1>{escape(title)}</h1>", *([_about(about)] if about else [])]
    if results:
        body.append(_overview(stages, results))
    else:
        body.append("<p>Nothing was evaluated, so there are no cards.</p>")
    for place, stage in enumerate(stages):
        body.append(_section(place, stage, [result for result in results if result.stage == stage]))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + _lines(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _about(about: Mapping[str, str]) -> str:
    lines = [f'<tr><th scope="row">{escape(name)}</th><td>{escape(told)}</td></tr>' for name, told in about.items()]
    return f'<table class="about">\n<tbody>\n{_lines(lines)}\n</tbody>\n</table>'


def _overview(stages: Sequence[str], results: Sequence[MetricResult]) -> str:
    """Links to the stages, and the plots."""
    links = [f'<li><a href="#stage-{place}">{escape(stage)}</a></li>' for place, stage in enumerate(stages)]
    return (
        f'<nav aria-label="Stages"><ul>{"".join(links)}</ul></nav>\n'
        f'<section aria-labelledby="overview">\n<h2 '
        f'id="overview">Overview</h2>\n{legend()}\n{plots(results)}\n</section>'
    )


def _section(place: int, stage: str, results: Sequence[MetricResult]) -> str:
    """One stage: the table, then samples and sentences of each metric."""
    anchor = f"stage-{place}"
    return _lines(
        [
            f'<section aria-labelledby="{anchor}">\n<h2 id="{anchor}">{escape(stage)}</h2>',
            _table("cards", f"Metrics of {stage}", HEADINGS, rows(results), TEXT_COLUMNS),
            *(_examples(result) for result in results if result.samples or result.sentences),
            "</section>",
        ]
    )


def _examples(result: MetricResult) -> str:
    """Samples and sentences of a metric."""
    parts = [f"<h3>{escape(f'{result.task} {result.metric}')}</h3>"]
    if result.samples:
        items = [_sample(number, sample) for number, sample in enumerate(result.samples, start=1)]
        parts.append(f'<ol class="samples">\n{_lines(items)}\n</ol>')
    if result.sentences:
        parts.append(_sentences(result.name, result.sentences))
    return _lines(parts)


def _sample(number: int, sample: EvalSample) -> str:
    """One sample, with right or wrong first."""
    kind, sign = ("right", "✓") if sample.right else ("wrong", "✗")
    shown = ""
    if sample.picture is not None:
        alt = escape(f"Picture of sample {number}, shown to the model")
        shown = f'<img src="{_uri("image/png", sample.picture)}" alt="{alt}" width="160">\n'
    told = []
    if sample.question:
        told.append(f"<dt>asked</dt><dd>{escape(sample.question)}</dd>")
    if sample.sound is not None:
        told.append(_player("played", f"Sound of sample {number}, played to the model", sample.sound))
    told.append(f"<dt>wanted</dt><dd>{escape(sample.expected) or NOTHING}</dd>")
    told.append(f"<dt>said</dt><dd>{escape(sample.answered) or NOTHING}</dd>")
    if sample.spoken is not None:
        told.append(_player("in answer", f"Sound of sample {number}, spoken by the model", sample.spoken))
    return (
        f'<li class="sample {kind}">\n<p><span aria-hidden="true">{sign}</span> {kind}</p>\n'
        f"{shown}<dl>\n{_lines(told)}\n</dl>\n</li>"
    )


def _player(name: str, label: str, sound: bytes) -> str:
    uri = _uri("audio/wav", sound)
    player = f'<audio controls preload="metadata" aria-label="{escape(label)}" src="{uri}"></audio>'
    return f'<dt>{name}</dt><dd class="media">{player}</dd>'


def _sentences(name: str, sentences: Sequence[Mapping[str, Any]]) -> str:
    """All sentences, collapsed; one column for each key that occurs."""
    columns = list(dict.fromkeys(key for sentence in sentences for key in sentence))
    cells = [tuple(str(sentence.get(key, "")) for key in columns) for sentence in sentences]
    text = {key for key in columns if any(isinstance(sentence.get(key), str) for sentence in sentences)}
    table = _table("sentences", f"Sentences of {name}", columns, cells, text)
    many = f"{len(sentences):,} sentence{'' if len(sentences) == 1 else 's'}"
    return f"<details>\n<summary>{many}</summary>\n{table}\n</details>"


def _table(
    kind: str, label: str, headings: Sequence[str], cells: Iterable[Sequence[str]], text_columns: Iterable[str]
) -> str:
    """A table that scrolls horizontally on narrow screens, also with the keyboard."""
    splits = ["" if heading in text_columns else ' class="figure"' for heading in headings]
    head = "".join(f'<th scope="col"{split}>{escape(name)}</th>' for split, name in zip(splits, headings, strict=True))
    lines = [
        "<tr>" + "".join(f"<td{split}>{escape(cell)}</td>" for split, cell in zip(splits, row, strict=True)) + "</tr>"
        for row in cells
    ]
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(label)}">\n<table class="{kind}">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{_lines(lines)}\n</tbody>\n</table>\n</div>"
    )


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{b64encode(data).decode('ascii')}"


def _lines(parts: Sequence[str]) -> str:
    return "\n".join(parts)


STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fff; --raised: #f4f5f7; --text: #1c2127; --soft: #565e69; --line: #d3d8de;
  --mark: #0b62b8; --baseline: #a23b00; --ceiling: #57468c; --right: #12703a; --wrong: #b01c2e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --raised: #1f242a; --text: #e6e9ed; --soft: #a7b0bb; --line: #3a424c;
    --mark: #69b1ff; --baseline: #f59b62; --ceiling: #b9a7f2; --right: #5fd08c; --wrong: #ff8592;
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
.baseline { stroke: var(--baseline); stroke-width: 2; fill: none; }
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
