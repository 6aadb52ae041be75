"""``muomni eval --html``: the metrics of models as one page, with their plots."""

from __future__ import annotations

import datetime
import io
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.metrics import HEADINGS, EvalSample, MetricResult, rows
from muomni_cli.core.errors import __version__
from muomni_cli.core.files import write_text
from muomni_cli.core.html_page import audio, data_uri, document, facts, table, wav

if TYPE_CHECKING:
    from muomni_cli.recipe import Recipe

ROW, NAME, TRACK = 46, 14, 31
"""Height of a row, and the distances of its name and of its marks from its top, in pixels."""

AXIS = 26
"""Height of the axis labels below the rows, in pixels."""

LONGEST = 40
"""Characters of a name that fit beside the value on a phone."""

BASELINE, TOPLINE = "M0 -8V8M-5 8H5", "M0 -8V8M-5 -8H5"
"""Paths of the two marks around their position; their shapes differ, so that colors are not needed."""

DOT, WHISKER = "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0", "M-18 0H18M-18 -5V5M18 -5V5"

LEGEND = (
    ("dot", DOT, "the value"),
    ("whisker", WHISKER, "its 95% interval"),
    ("baseline", BASELINE, "baseline: chance level"),
    ("topline", TOPLINE, "topline: the original recordings"),
)

EVENLY_SPACED, WRONG = 4, 4
"""Samples taken evenly from all examples of a metric, and further ones from the wrong answers."""

RGB = 3

TEXT_COLUMNS = frozenset({"STAGE", "TASK", "METRIC", "RESAMPLED BY"})
"""Columns of text; all others hold numbers and are right-aligned."""

NOTHING = "<em>(nothing)</em>"


def legend() -> str:
    items = [
        f'<li><svg width="44" height="20" aria-hidden="true"><path class="{role}" transform="translate(22 10)" '
        f'd="{shape}"/></svg>{text}</li>'
        for role, shape, text in LEGEND
    ]
    return f'<ul class="legend">{"".join(items)}</ul>'


def plots(results: Sequence[MetricResult]) -> str:
    return "\n".join(_figure(scale, own) for scale, own in by_scale(results).items())


def _figure(scale: Scale, results: Sequence[MetricResult]) -> str:
    better = f" <small>{escape(scale.better)}</small>" if scale.better else ""
    return (
        f"<figure>\n<figcaption><h3>{escape(scale.title)}{better}</h3></figcaption>\n{plot(scale, results)}\n</figure>"
    )


def plot(scale: Scale, results: Sequence[MetricResult]) -> str:
    """The SVG of the metrics of one scale."""
    axis = Axis.of(scale, results)
    bottom = ROW * len(results)
    grid = "".join(_number(axis, number, bottom) for number in axis.numbers)
    rows = "\n".join(_row(axis, result, ROW * place) for place, result in enumerate(results))
    told = escape(f"{scale.title}: " + ", ".join(f"{result.name} {result.value:.3f}" for result in results))
    return (
        f'<svg class="plot" role="img" aria-label="{told}" width="100%" height="{bottom + AXIS}">\n'
        f"{grid}\n{rows}\n</svg>"
    )


def _number(axis: Axis, number: float, bottom: int) -> str:
    """A grid line and its label; the outermost labels stay inside the drawing."""
    place = axis.place(number)
    split = {axis.numbers[0]: "start", axis.numbers[-1]: "end"}.get(number, "middle")
    return (
        f'<line class="grid" x1="{place:.2f}%" x2="{place:.2f}%" y1="0" y2="{bottom}"/>'
        f'<text class="number" x="{place:.2f}%" y="{bottom + 17}" text-anchor="{split}">{number:.10g}</text>'
    )


def _row(axis: Axis, result: MetricResult, top: int) -> str:
    name = result.name if len(result.name) <= LONGEST else result.name[: LONGEST - 1] + "…"
    drawn = {role: f"{axis.place(number):.2f}%" for role, number in marks(result).items()}
    middle = top + TRACK
    shapes = [
        f'<line class="track" x1="0%" x2="100%" y1="{middle}" y2="{middle}"/>',
        *(
            f'<svg class="at" x="{drawn[role]}" y="{middle}"><path class="{role}" d="{shape}"/></svg>'
            for role, shape in (("baseline", BASELINE), ("topline", TOPLINE))
            if role in drawn
        ),
    ]
    if "low" in drawn and "high" in drawn:
        low, high = drawn["low"], drawn["high"]
        shapes += [
            f'<line class="whisker" x1="{x1}" x2="{x2}" y1="{middle - tall}" y2="{middle + tall}"/>'
            for x1, x2, tall in ((low, high, 0), (low, low, 5), (high, high, 5))
        ]
    if "value" in drawn:
        shapes.append(f'<circle class="dot" cx="{drawn["value"]}" cy="{middle}" r="5"/>')
    return (
        f'<g class="card"><title>{escape(_tooltip(result))}</title>'
        f'<text class="name" x="0%" y="{top + NAME}">{escape(name)}</text>'
        f'<text class="value" x="100%" y="{top + NAME}" text-anchor="end">{result.value:.3f}</text>'
        f"{''.join(shapes)}</g>"
    )


def _tooltip(result: MetricResult) -> str:
    told = [f"{result.name}: {result.value:.3f}"]
    if result.low is not None and result.high is not None:
        told.append(f"95% interval {result.low:.3f} to {result.high:.3f}")
    told += [
        f"{name} {number:.3f}"
        for name, number in (("baseline", result.baseline), ("topline", result.topline))
        if number is not None
    ]
    return ", ".join(told)


STEPS = 5
"""Most steps of an axis, except for rounding."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What an axis measures.

    Args:
        title: of the plot.
        better: which values are better, for the reader; empty if unknown.
        least: the axis reaches at least this value.
    """

    title: str
    better: str = ""
    least: float = 0.0


HIGH, LOW = "higher is better", "lower is better"

SHARES = Scale("Shares of right answers", HIGH, 1.0)

ERRORS = Scale("Word error rates", LOW)

SCALES = (
    ("wer", ERRORS),
    ("wer_*", ERRORS),
    ("use_*", Scale("Shares of the codes that are used", HIGH, 1.0)),
    ("at_bound", Scale("Shares of sentences that were cut off", LOW, 1.0)),
    ("length_*", Scale("Length, by that of the original", "near 1 is best")),
    ("mel_l1", Scale("Distance of log-mel spectra (mel_l1)", LOW)),
    ("bits_per_byte", Scale("Bits per byte of unseen text", LOW)),
    ("loss", Scale("Loss, in nats a token", LOW)),
)
"""Name patterns of metrics and their scales; the first match counts."""


def scale_of(result: MetricResult) -> Scale:
    """The scale of a metric by its name; one of unknown name is a share if it can be, else it has its own scale."""
    for name, scale in SCALES:
        if fnmatchcase(result.metric, name):
            return scale
    return SHARES if result.n is not None and 0 <= result.value <= 1 else Scale(result.metric)


def by_scale(results: Iterable[MetricResult]) -> dict[Scale, list[MetricResult]]:
    """Scales in order of first appearance, and the metrics of each."""
    found: dict[Scale, list[MetricResult]] = {}
    for result in results:
        found.setdefault(scale_of(result), []).append(result)
    return found


@dataclass(frozen=True, slots=True)
class Axis:
    """The tick values of an axis; the first and the last are its ends."""

    numbers: tuple[float, ...]

    @classmethod
    def of(cls, scale: Scale, results: Sequence[MetricResult]) -> Axis:
        """An axis with round steps that contains zero and all marks."""
        shown = [number for result in results for number in marks(result).values()]
        low, high = min([0.0, *shown]), max([scale.least, *shown])
        if low == high:
            high = low + 1.0
        rough = (high - low) / STEPS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough * 0.999)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        return cls(tuple(number * step for number in range(first, last + 1)))

    def place(self, number: float) -> float:
        """Position of a value in percent of the width."""
        return 100 * (number - self.numbers[0]) / (self.numbers[-1] - self.numbers[0])


def marks(result: MetricResult) -> dict[str, float]:
    """The finite numbers of a metric by role: ``value``, ``low``, ``high``, ``baseline``, ``topline``."""
    known = {
        "value": result.value,
        "low": result.low,
        "high": result.high,
        "baseline": result.baseline,
        "topline": result.topline,
    }
    return {role: number for role, number in known.items() if number is not None and math.isfinite(number)}


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
    body = [f"<h1>{escape(title)}</h1>", *([facts(about)] if about else [])]
    if results:
        body.append(_overview(stages, results))
    else:
        body.append("<p>Nothing was evaluated, so there are no metrics.</p>")
    for place, stage in enumerate(stages):
        body.append(_section(place, stage, [result for result in results if result.stage == stage]))
    return document(title, STYLE, body)


def _overview(stages: Sequence[str], results: Sequence[MetricResult]) -> str:
    links = [f'<li><a href="#stage-{place}">{escape(stage)}</a></li>' for place, stage in enumerate(stages)]
    return (
        f'<nav aria-label="Stages"><ul>{"".join(links)}</ul></nav>\n'
        f'<section aria-labelledby="overview">\n<h2 '
        f'id="overview">Overview</h2>\n{legend()}\n{plots(results)}\n</section>'
    )


def _section(place: int, stage: str, results: Sequence[MetricResult]) -> str:
    anchor = f"stage-{place}"
    return _lines(
        [
            f'<section aria-labelledby="{anchor}">\n<h2 id="{anchor}">{escape(stage)}</h2>',
            table("cards", f"Metrics of {stage}", HEADINGS, rows(results), TEXT_COLUMNS),
            *(_examples(result) for result in results if result.samples or result.sentences),
            "</section>",
        ]
    )


def _examples(result: MetricResult) -> str:
    parts = [f"<h3>{escape(f'{result.task} {result.metric}')}</h3>"]
    if result.samples:
        items = [_sample(number, sample) for number, sample in enumerate(result.samples, start=1)]
        parts.append(f'<ol class="samples">\n{_lines(items)}\n</ol>')
    if result.sentences:
        parts.append(_sentences(result.name, result.sentences))
    return _lines(parts)


def _sample(number: int, sample: EvalSample) -> str:
    kind, sign = ("right", "✓") if sample.right else ("wrong", "✗")
    shown = ""
    if sample.picture is not None:
        alt = escape(f"Image of sample {number}, model input")
        shown = f'<img src="{data_uri("image/png", sample.picture)}" alt="{alt}" width="160">\n'
    terms = []
    if sample.question:
        terms.append(f"<dt>question</dt><dd>{escape(sample.question)}</dd>")
    if sample.sound is not None:
        terms.append(_player("audio", f"Audio of sample {number}, model input", sample.sound))
    terms.append(f"<dt>expected</dt><dd>{escape(sample.expected) or NOTHING}</dd>")
    terms.append(f"<dt>answer</dt><dd>{escape(sample.answered) or NOTHING}</dd>")
    if sample.spoken is not None:
        terms.append(_player("spoken answer", f"Audio of sample {number}, model output", sample.spoken))
    return (
        f'<li class="sample {kind}">\n<p><span aria-hidden="true">{sign}</span> {kind}</p>\n'
        f"{shown}<dl>\n{_lines(terms)}\n</dl>\n</li>"
    )


def _player(name: str, label: str, sound: bytes) -> str:
    return f'<dt>{name}</dt><dd class="media">{audio(label, sound)}</dd>'


def _sentences(name: str, sentences: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for sentence in sentences for key in sentence))
    cells = [tuple(str(sentence.get(key, "")) for key in columns) for sentence in sentences]
    text = {key for key in columns if any(isinstance(sentence.get(key), str) for sentence in sentences)}
    listed = table("sentences", f"Sentences of {name}", columns, cells, text)
    many = f"{len(sentences):,} sentence{'' if len(sentences) == 1 else 's'}"
    return f"<details>\n<summary>{many}</summary>\n{listed}\n</details>"


def _lines(parts: Sequence[str]) -> str:
    return "\n".join(parts)


STYLE = """
:root { --baseline: #a23b00; --ceiling: #57468c; --right: #12703a; --wrong: #b01c2e; }
@media (prefers-color-scheme: dark) {
  :root { --baseline: #f59b62; --ceiling: #b9a7f2; --right: #5fd08c; --wrong: #ff8592; }
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
.baseline { stroke: var(--baseline); stroke-width: 2; fill: none; }
.topline { stroke: var(--ceiling); stroke-width: 2; fill: none; }
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
