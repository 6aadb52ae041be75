"""Which cards may share an axis: those whose values mean the same. Knows metrics by name, and no HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from muomni_cli.contract.cards import Card

STEPS = 5
"""An axis has at most so many steps between its numbers, rounding aside."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What an axis measures.

    Args:
        title: what its numbers are.
        better: which of them are good; empty where that is not known.
        least: what it reaches at least, if all values are low.
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
"""Names of metrics, ``*`` standing for anything, and what they are measured on. The first that fits counts."""


def scale_of(card: Card) -> Scale:
    """By the name of the metric. One that nobody knows is a share of examples if it can be, and else a scale apart."""
    for name, scale in SCALES:
        if fnmatchcase(card.metric, name):
            return scale
    return SHARES if card.n is not None and 0 <= card.value <= 1 else Scale(card.metric)


def by_scale(cards: Iterable[Card]) -> dict[Scale, list[Card]]:
    """Scales as they first come up, and the cards of each in order."""
    found: dict[Scale, list[Card]] = {}
    for card in cards:
        found.setdefault(scale_of(card), []).append(card)
    return found


@dataclass(frozen=True, slots=True)
class Axis:
    """From where to where a plot goes, and the numbers that are written below it."""

    numbers: tuple[float, ...]

    @classmethod
    def of(cls, scale: Scale, cards: Sequence[Card]) -> Axis:
        """With zero and all that the cards have to show, in round steps."""
        shown = [number for card in cards for number in marks(card).values()]
        low, high = min([0.0, *shown]), max([scale.least, *shown])
        if low == high:
            high = low + 1.0
        rough = (high - low) / STEPS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough * 0.999)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        return cls(tuple(number * step for number in range(first, last + 1)))

    def place(self, number: float) -> float:
        """0 at the left end, 100 at the right one."""
        return 100 * (number - self.numbers[0]) / (self.numbers[-1] - self.numbers[0])


def marks(card: Card) -> dict[str, float]:
    """What of a card can be drawn, by its role: ``value``, ``low``, ``high``, ``floor``, ``ceiling``."""
    known = {
        "value": card.value,
        "low": card.low,
        "high": card.high,
        "floor": card.chance,
        "ceiling": card.ceiling,
    }
    return {role: number for role, number in known.items() if number is not None and math.isfinite(number)}
