"""Cards as SVG: a row each on a common axis. Knows no tables and no samples.

Places along the axis are percentages of the drawing's width, so that it is as wide as the screen while letters keep
their size.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from muomni_cli.contract.cards import Card
from muomni_cli.evaluation.page_scales import Axis, Scale, by_scale, marks

ROW, NAME, TRACK = 46, 14, 31
"""Height of a card's row, of the foot of its name in it, and of the middle of its marks, in pixels."""

AXIS = 26
"""Height of the numbers below the rows, in pixels."""

LONGEST = 40
"""Letters of a name that fit beside the value on a phone."""

FLOOR, CEILING = "M0 -8V8M-5 8H5", "M0 -8V8M-5 -8H5"
"""Strokes around their place: one that stands on the ground, and one that hangs. So they differ without colours."""

DOT, WHISKER = "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0", "M-18 0H18M-18 -5V5M18 -5V5"

LEGEND = (
    ("dot", DOT, "the value"),
    ("whisker", WHISKER, "its 95% interval"),
    ("floor", FLOOR, "floor: what guessing gives"),
    ("ceiling", CEILING, "ceiling: what the judge gives to the best there is"),
)


def legend() -> str:
    """What the marks of all plots mean."""
    items = [
        f'<li><svg width="44" height="20" aria-hidden="true"><path class="{role}" transform="translate(22 10)" '
        f'd="{shape}"/></svg>{text}</li>'
        for role, shape, text in LEGEND
    ]
    return f'<ul class="legend">{"".join(items)}</ul>'


def plots(cards: Sequence[Card]) -> str:
    """A figure for each scale."""
    return "\n".join(_figure(scale, own) for scale, own in by_scale(cards).items())


def _figure(scale: Scale, cards: Sequence[Card]) -> str:
    better = f" <small>{escape(scale.better)}</small>" if scale.better else ""
    return f"<figure>\n<figcaption><h3>{escape(scale.title)}{better}</h3></figcaption>\n{plot(scale, cards)}\n</figure>"


def plot(scale: Scale, cards: Sequence[Card]) -> str:
    """The SVG of one scale's cards."""
    axis = Axis.of(scale, cards)
    bottom = ROW * len(cards)
    grid = "".join(_number(axis, number, bottom) for number in axis.numbers)
    rows = "\n".join(_row(axis, card, ROW * place) for place, card in enumerate(cards))
    told = escape(f"{scale.title}: " + ", ".join(f"{card.name} {card.value:.3f}" for card in cards))
    return (
        f'<svg class="plot" role="img" aria-label="{told}" width="100%" height="{bottom + AXIS}">\n'
        f"{grid}\n{rows}\n</svg>"
    )


def _number(axis: Axis, number: float, bottom: int) -> str:
    """A line across all rows, and its number below; those at the ends stay inside of the drawing."""
    place = axis.place(number)
    side = {axis.numbers[0]: "start", axis.numbers[-1]: "end"}.get(number, "middle")
    return (
        f'<line class="grid" x1="{place:.2f}%" x2="{place:.2f}%" y1="0" y2="{bottom}"/>'
        f'<text class="number" x="{place:.2f}%" y="{bottom + 17}" text-anchor="{side}">{number:.10g}</text>'
    )


def _row(axis: Axis, card: Card, top: int) -> str:
    """Name and value of a card, and its marks below them."""
    name = card.name if len(card.name) <= LONGEST else card.name[: LONGEST - 1] + "…"
    drawn = {role: f"{axis.place(number):.2f}%" for role, number in marks(card).items()}
    middle = top + TRACK
    shapes = [
        f'<line class="track" x1="0%" x2="100%" y1="{middle}" y2="{middle}"/>',
        *(
            f'<svg class="at" x="{drawn[role]}" y="{middle}"><path class="{role}" d="{shape}"/></svg>'
            for role, shape in (("floor", FLOOR), ("ceiling", CEILING))
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
        f'<g class="card"><title>{escape(_told(card))}</title>'
        f'<text class="name" x="0%" y="{top + NAME}">{escape(name)}</text>'
        f'<text class="value" x="100%" y="{top + NAME}" text-anchor="end">{card.value:.3f}</text>'
        f"{''.join(shapes)}</g>"
    )


def _told(card: Card) -> str:
    """What is told of a row that is pointed at."""
    told = [f"{card.name}: {card.value:.3f}"]
    if card.low is not None and card.high is not None:
        told.append(f"95% interval {card.low:.3f} to {card.high:.3f}")
    told += [
        f"{name} {number:.3f}"
        for name, number in (("floor", card.chance), ("ceiling", card.ceiling))
        if number is not None
    ]
    return ", ".join(told)
