"""One line of a report: what was asked, how well it went, and how sure that is. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from muomni_cli.evaluation.interval import bootstrap

HEADINGS = ("STAGE", "TASK", "METRIC", "VALUE", "95% INTERVAL", "N", "DRAWN BY", "CHANCE")


@dataclass(frozen=True, slots=True)
class Card:
    """How well one task goes.

    Args:
        stage: whose weights.
        task: name of the source, with what the questions are about where there are several kinds: ``world/audio``.
        metric: what ``value`` is.
        value: a share of ``n`` examples, unless the metric says otherwise.
        low, high: the 95 % bootstrap interval; None where there are no examples to draw from.
        n: examples; None where the metric counts something else.
        unit: what the bootstrap drew; see :class:`muomni_cli.evaluation.interval.Interval`.
        keys: how many keys (speakers, scenes) the examples have.
        chance: what guessing would give, where that is known.
        sentences: what was said and heard, sentence by sentence, where something was.
    """

    stage: str
    task: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""
    keys: int | None = None
    chance: float | None = None
    sentences: Sequence[Mapping[str, Any]] | None = None


def card_of(
    stage: str, task: str, metric: str, scores: Sequence[float], keys: Sequence[str], chance: float | None = None
) -> Card:
    """The mean of ``scores``, one for each example, whose ``keys`` are those of its speaker or scene."""
    sure = bootstrap(scores, keys)
    value = float(np.mean(scores))
    return Card(stage, task, metric, value, sure.low, sure.high, len(scores), sure.unit, sure.keys, chance)


def as_json(cards: Sequence[Card]) -> list[dict[str, Any]]:
    """Plain data, a card an entry; ``sentences`` only where there are some."""
    entries = [asdict(card) for card in cards]
    return [{k: v for k, v in entry.items() if k != "sentences" or v is not None} for entry in entries]


def rows(cards: Sequence[Card]) -> list[tuple[str, ...]]:
    """Under :data:`HEADINGS`."""
    return [
        (
            card.stage,
            card.task,
            card.metric,
            f"{card.value:.3f}",
            "-" if card.low is None else f"{card.low:.3f} to {card.high:.3f}",
            "-" if card.n is None else f"{card.n:,}",
            f"{card.keys:,} keys" if card.unit == "key" else card.unit or "-",
            "-" if card.chance is None else f"{card.chance:.3f}",
        )
        for card in cards
    ]
