"""Percentiles of many lengths in little memory."""

from __future__ import annotations

from collections import Counter


class Lengths:
    """Counts lengths: exactly below 1,000, to three digits above (so an error below half a percent)."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.longest = 0

    def add(self, length: int) -> None:
        """Count one more."""
        digits = max(0, len(str(length)) - 3)
        self._counts[round(length, -digits)] += 1
        self.longest = max(self.longest, length)

    def percentile(self, percent: float) -> int:
        """The shortest length that ``percent`` of all do not exceed; 0 where there are none."""
        if percent >= 100:
            return self.longest
        wanted = self._counts.total() * percent / 100
        passed = 0
        for length in sorted(self._counts):
            passed += self._counts[length]
            if passed >= wanted:
                return min(length, self.longest)
        return self.longest
