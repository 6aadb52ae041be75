"""What differs between two recipes once every default is filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from muomni_cli.recipe.model import Recipe
from muomni_cli.recipe.write import as_data

ABSENT = "(absent)"


@dataclass(frozen=True, slots=True)
class Change:
    """One key, its value in the first recipe and in the second; :data:`ABSENT` where a recipe has no such key."""

    key: str
    left: Any
    right: Any


def diff(left: Recipe, right: Recipe) -> list[Change]:
    """Every key that differs, in the order of the first recipe."""
    a, b = dict(_flat(as_data(left))), dict(_flat(as_data(right)))
    return [Change(k, a.get(k, ABSENT), b.get(k, ABSENT)) for k in {**a, **b} if a.get(k, ABSENT) != b.get(k, ABSENT)]


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    members: Mapping[Any, Any] | None = None
    if isinstance(value, dict):
        members = value
    elif isinstance(value, list) and any(isinstance(element, dict) for element in value):
        members = dict(enumerate(value))
    if members is None:
        yield path, value
        return
    for key, member in members.items():
        yield from _flat(member, f"{path}.{key}" if path else str(key))
