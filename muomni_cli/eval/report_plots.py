"""Plots of the report as SVG: metrics with the same meaning share an axis, one row each.

Positions along the axis are percentages of the drawing's width, so it fills the screen while text keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from html import escape

from muomni_cli.contract.metrics import MetricResult

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
