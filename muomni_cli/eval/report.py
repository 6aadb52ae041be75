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
    from muomni_cli.recipe.model import Recipe

ROW, NAME, TRACK = 46, 14, 31  # height of a row, and distances of its name and of its marks from its top, in pixels
AXIS = 26  # height of the axis labels below the rows, in pixels
LONGEST = 40  # characters of a name that fit beside the value on a phone

# Paths of the marks around their position. The shapes differ, so that colors are not needed.
BASELINE, TOPLINE = "M0 -8V8M-5 8H5", "M0 -8V8M-5 -8H5"
LEGEND = (
    ("dot", "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0", "the value"),
    ("whisker", "M-18 0H18M-18 -5V5M18 -5V5", "its 95% interval"),
    ("baseline", BASELINE, "baseline: chance level"),
    ("topline", TOPLINE, "topline: the original recordings"),
)

EVENLY_SPACED, WRONG = 4, 4  # samples taken evenly from all examples of a metric, and further ones with wrong answers
TEXT_COLUMNS = frozenset({"STAGE", "TASK", "METRIC", "RESAMPLED BY"})  # the others hold numbers
STEPS = 5  # of an axis at most, except for rounding


def _figure(scale: Scale, results: Sequence[MetricResult]) -> str:
    """The plot of the metrics of one scale, as SVG."""
    axis = Axis.of(scale, results)
    bottom = ROW * len(results)
    grid = []
    for number in axis.numbers:
        place = axis.place(number)
        # The outermost labels stay inside the drawing.
        anchor = {axis.numbers[0]: "start", axis.numbers[-1]: "end"}.get(number, "middle")
        grid.append(
            f'<line class="grid" x1="{place:.2f}%" x2="{place:.2f}%" y1="0" y2="{bottom}"/>'
            f'<text class="number" x="{place:.2f}%" y="{bottom + 17}" text-anchor="{anchor}">{number:.10g}</text>'
        )
    rows = [_row(axis, result, ROW * place) for place, result in enumerate(results)]
    better = f" <small>{escape(scale.better)}</small>" if scale.better else ""
    label = escape(f"{scale.title}: " + ", ".join(f"{result.name} {result.value:.3f}" for result in results))
    return "\n".join(
        [
            f"<figure>\n<figcaption><h3>{escape(scale.title)}{better}</h3></figcaption>",
            f'<svg class="plot" role="img" aria-label="{label}" width="100%" height="{bottom + AXIS}">',
            "".join(grid),
            *rows,
            "</svg>\n</figure>",
        ]
    )


def _row(axis: Axis, result: MetricResult, top: int) -> str:
    name = result.name if len(result.name) <= LONGEST else result.name[: LONGEST - 1] + "…"
    drawn = {role: f"{axis.place(number):.2f}%" for role, number in marks(result).items()}
    middle = top + TRACK
    shapes = [f'<line class="track" x1="0%" x2="100%" y1="{middle}" y2="{middle}"/>']
    tooltip = [f"{result.name}: {result.value:.3f}"]
    if result.low is not None and result.high is not None:
        tooltip.append(f"95% interval {result.low:.3f} to {result.high:.3f}")
    for role, shape, number in (("baseline", BASELINE, result.baseline), ("topline", TOPLINE, result.topline)):
        if number is not None:
            tooltip.append(f"{role} {number:.3f}")
        if role in drawn:
            path = f'<path class="{role}" d="{shape}"/>'
            shapes.append(f'<svg class="at" x="{drawn[role]}" y="{middle}">{path}</svg>')
    if "low" in drawn and "high" in drawn:
        low, high = drawn["low"], drawn["high"]
        shapes += [
            f'<line class="whisker" x1="{x1}" x2="{x2}" y1="{middle - tall}" y2="{middle + tall}"/>'
            for x1, x2, tall in ((low, high, 0), (low, low, 5), (high, high, 5))
        ]
    if "value" in drawn:
        shapes.append(f'<circle class="dot" cx="{drawn["value"]}" cy="{middle}" r="5"/>')
    return (
        f'<g class="card"><title>{escape(", ".join(tooltip))}</title>'
        f'<text class="name" x="0%" y="{top + NAME}">{escape(name)}</text>'
        f'<text class="value" x="100%" y="{top + NAME}" text-anchor="end">{result.value:.3f}</text>'
        f"{''.join(shapes)}</g>"
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """What an axis measures."""

    title: str  # of the plot
    better: str = ""  # which values are better, for the reader; empty if unknown
    least: float = 0.0  # the axis reaches at least this value


HIGH, LOW = "higher is better", "lower is better"
ERRORS = Scale("Word error rates", LOW)
SCALES = (  # name patterns of metrics and their scales; the first match counts
    ("wer", ERRORS),
    ("wer_*", ERRORS),
    ("use_*", Scale("Shares of the codes that are used", HIGH, 1.0)),
    ("at_bound", Scale("Shares of sentences that were cut off", LOW, 1.0)),
    ("length_*", Scale("Length, by that of the original", "near 1 is best")),
    ("mel_l1", Scale("Distance of log-mel spectra (mel_l1)", LOW)),
    ("hop_bend", Scale("Bend of the wave at the place of a hop where it is greatest", "near 1 is best")),
    ("bits_per_byte", Scale("Bits per byte of unseen text", LOW)),
    ("loss", Scale("Loss, in nats a token", LOW)),
)


def scale_of(result: MetricResult) -> Scale:
    """The scale of a metric by its name; one of unknown name is a share if it can be, else it has its own scale."""
    for name, scale in SCALES:
        if fnmatchcase(result.metric, name):
            return scale
    is_share = result.n is not None and 0 <= result.value <= 1
    return Scale("Shares of right answers", HIGH, 1.0) if is_share else Scale(result.metric)


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
    known = {role: getattr(result, role) for role in ("value", "low", "high", "baseline", "topline")}
    return {role: number for role, number in known.items() if number is not None and math.isfinite(number)}


def select_samples(right: Sequence[bool]) -> list[int]:
    """Indices of the examples to show, in order, given which answers are right."""
    spread = np.linspace(0, len(right) - 1, min(EVENLY_SPACED, len(right))).astype(int).tolist() if right else []
    wrong = [index for index, one in enumerate(right) if not one and index not in spread]
    return sorted({*spread, *wrong[:WRONG]})


def media_of(recipe: Recipe, modality: str, inputs: NDArray[Any]) -> dict[str, bytes]:
    """The input of an encoder as ``picture`` (PNG) or ``sound`` (WAV); empty if it is neither."""
    if inputs.ndim == 3 and inputs.shape[0] == 3 and inputs.dtype == np.uint8:
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(inputs.transpose(1, 2, 0))).save(file, "PNG")
        return {"picture": file.getvalue()}
    chosen = recipe.encoders.get(modality)
    rate = getattr(chosen.config, "sample_rate", None) if chosen else None
    if inputs.ndim == 1 and isinstance(rate, int):
        return {"sound": wav(inputs, rate)}
    return {}


def write_page(path: Path, model: str, recipe: Recipe, results: Sequence[MetricResult]) -> None:
    """Write the report of a model as one HTML file, atomically. MuomniError if it cannot be written."""
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
    if not results:
        body.append("<p>Nothing was evaluated, so there are no metrics.</p>")
        return document(title, STYLE, body)
    links = [f'<li><a href="#stage-{place}">{escape(stage)}</a></li>' for place, stage in enumerate(stages)]
    legend = [
        f'<li><svg width="44" height="20" aria-hidden="true"><path class="{role}" transform="translate(22 10)" '
        f'd="{shape}"/></svg>{text}</li>'
        for role, shape, text in LEGEND
    ]
    body += [
        f'<nav aria-label="Stages"><ul>{"".join(links)}</ul></nav>',
        '<section aria-labelledby="overview">\n<h2 id="overview">Overview</h2>',
        f'<ul class="legend">{"".join(legend)}</ul>',
        *(_figure(scale, alike) for scale, alike in by_scale(results).items()),
        "</section>",
    ]
    for place, stage in enumerate(stages):
        own = [result for result in results if result.stage == stage]
        body += [
            f'<section aria-labelledby="stage-{place}">\n<h2 id="stage-{place}">{escape(stage)}</h2>',
            table("cards", f"Metrics of {stage}", HEADINGS, rows(own), TEXT_COLUMNS),
            *(_examples(result) for result in own if result.samples or result.sentences),
            "</section>",
        ]
    return document(title, STYLE, body)


def _examples(result: MetricResult) -> str:
    parts = [f"<h3>{escape(f'{result.task} {result.metric}')}</h3>"]
    if result.samples:
        items = [_sample(number, sample) for number, sample in enumerate(result.samples, start=1)]
        parts += ['<ol class="samples">', *items, "</ol>"]
    if sentences := result.sentences:
        columns = list(dict.fromkeys(key for sentence in sentences for key in sentence))
        cells = [tuple(str(sentence.get(key, "")) for key in columns) for sentence in sentences]
        text = {key for key in columns if any(isinstance(sentence.get(key), str) for sentence in sentences)}
        count = f"{len(sentences):,} sentence{'' if len(sentences) == 1 else 's'}"
        listed = table("sentences", f"Sentences of {result.name}", columns, cells, text)
        parts.append(f"<details>\n<summary>{count}</summary>\n{listed}\n</details>")
    return "\n".join(parts)


def _sample(number: int, sample: EvalSample) -> str:
    kind, sign = ("right", "✓") if sample.right else ("wrong", "✗")
    parts = [f'<li class="sample {kind}">\n<p><span aria-hidden="true">{sign}</span> {kind}</p>']
    if sample.picture is not None:
        alt = escape(f"Image of sample {number}, model input")
        parts.append(f'<img src="{data_uri("image/png", sample.picture)}" alt="{alt}" width="160">')
    parts.append("<dl>")
    if sample.question:
        parts.append(f"<dt>question</dt><dd>{escape(sample.question)}</dd>")
    if sample.sound is not None:
        player = audio(f"Audio of sample {number}, model input", sample.sound)
        parts.append(f'<dt>audio</dt><dd class="media">{player}</dd>')
    for term, text in (("expected", sample.expected), ("answer", sample.answered)):
        parts.append(f"<dt>{term}</dt><dd>{escape(text) or '<em>(nothing)</em>'}</dd>")
    if sample.spoken is not None:
        player = audio(f"Audio of sample {number}, model output", sample.spoken)
        parts.append(f'<dt>spoken answer</dt><dd class="media">{player}</dd>')
    return "\n".join([*parts, "</dl>\n</li>"])


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
