"""How a part says what happens inside of it, for ``muomni trace``. No torch, no numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call inside a part, to be shown with its shapes, time and statistics when it happens.

    Args:
        at: dotted path from the part's module to a submodule, or to a method of one: ``blocks.0``, ``embed``.
        title: a few words to call it by.
        what: what it does, one short line.
        counts: shapes of the first tensor in and of the first out -> what becomes how many of what, in words.
    """

    at: str
    title: str
    what: str
    counts: Callable[[Shape, Shape], str] | None = None
