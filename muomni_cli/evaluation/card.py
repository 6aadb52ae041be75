"""A card as the mean of scores, with its interval."""

from __future__ import annotations

from collections.abc import Sequence

from muomni_cli.contract.cards import Card, Shown
from muomni_cli.core.interval import bootstrap


def card_of(
    stage: str,
    task: str,
    metric: str,
    scores: Sequence[float],
    keys: Sequence[str],
    chance: float | None = None,
    samples: Sequence[Shown] = (),
) -> Card:
    """The mean of ``scores``, one for each example, whose ``keys`` are those of its speaker or scene."""
    sure = bootstrap(scores, keys)
    drawn = (sure.low, sure.high, len(scores), sure.unit, sure.keys)
    return Card(stage, task, metric, sum(scores) / len(scores), *drawn, chance, samples=samples)
