"""Regular expressions that say what is for validation, and which of them match anything."""

from __future__ import annotations

import re
from collections.abc import Sequence


class Holdout:
    """The ``holdout`` of one table of a recipe.

    Args:
        expressions: regular expressions.
        of: what they are looked for in, for remarks: ``key`` or ``document``.
    """

    def __init__(self, expressions: Sequence[str], of: str = "key") -> None:
        self._expressions = [re.compile(expression) for expression in expressions]
        self._unmatched = {expression.pattern: None for expression in self._expressions}
        self._of = of
        self._kept = self._held = 0

    def __bool__(self) -> bool:
        return bool(self._expressions)

    def finds(self, text: str) -> bool:
        """Whether one of the expressions is found in ``text``."""
        found = [one.pattern for one in self._expressions if one.search(text)]
        for pattern in found:
            self._unmatched.pop(pattern, None)
        self._held += bool(found)
        self._kept += not found
        return bool(found)

    @property
    def remarks(self) -> list[str]:
        """What is wrong with the expressions, after everything was read."""
        if self._held and not self._kept:
            every = ", ".join(repr(one.pattern) for one in self._expressions)
            return [f"holdout {every} matches every {self._of}, which leaves nothing to train on"]
        if not self._held and not self._kept:
            return []
        return [f"holdout {pattern!r} matches no {self._of}" for pattern in self._unmatched]
