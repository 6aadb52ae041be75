"""How much of a transcript is wrong: the edits that make it right, counted in characters and in words."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def edits(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Fewest insertions, deletions and exchanges that make ``other`` of ``one`` (Levenshtein distance)."""
    row = list(range(len(other) + 1))
    for i, here in enumerate(one, start=1):
        corner, row[0] = row[0], i
        for j, there in enumerate(other, start=1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (here != there))
    return row[-1]


class ErrorRates:
    """Counts over many transcripts."""

    def __init__(self) -> None:
        self._sounds = self._right = 0
        self._edits = {"character": 0, "word": 0}
        self._sizes = {"character": 0, "word": 0}

    def add(self, said: str, heard: str) -> None:
        """Count one transcript."""
        self._sounds += 1
        self._right += said == heard
        for unit, (true, found) in {"character": (said, heard), "word": (said.split(), heard.split())}.items():
            self._edits[unit] += edits(true, found)
            self._sizes[unit] += len(true)

    def rates(self) -> dict[str, float]:
        """``character_error_rate`` and ``word_error_rate``, edits over what was said, and ``exact``, the share of
        sounds without an error."""
        rates = {f"{unit}_error_rate": self._edits[unit] / max(self._sizes[unit], 1) for unit in self._edits}
        return {**rates, "exact": self._right / max(self._sounds, 1)}
