"""Cards as people and programs read them: tables and JSON. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from muomni_cli.api import Card, Shown, card_of

__all__ = ["Card", "Shown", "as_json", "card_of", "rows"]

HEADINGS = ("STAGE", "TASK", "METRIC", "VALUE", "95% INTERVAL", "N", "DRAWN BY", "FLOOR", "CEILING")

OUT_OF_JSON = frozenset({"sentences", "samples"})
"""What of a card is not for every report: JSON has sentences where there are some, and never pictures and sounds."""


def as_json(cards: Sequence[Card]) -> list[dict[str, Any]]:
    """Plain data, a card an entry; ``sentences`` only where there are some."""
    names = [field.name for field in fields(Card) if field.name not in OUT_OF_JSON]
    plain = [{name: getattr(card, name) for name in names} for card in cards]
    told = [{} if card.sentences is None else {"sentences": list(card.sentences)} for card in cards]
    return [entry | more for entry, more in zip(plain, told, strict=True)]


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
            "-" if card.ceiling is None else f"{card.ceiling:.3f}",
        )
        for card in cards
    ]
