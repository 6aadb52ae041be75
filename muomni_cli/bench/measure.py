"""Alternating measurements. Knows nothing of what is measured: a contestant is a name and something to call.

One round lets every contestant run once, in an order that turns by one from round to round. A ratio is taken within
each round and its median is reported: two runs seconds apart share the machine's mood, two runs minutes apart do not.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Work = Callable[[], int]
"""Does the work once and returns how many items it did (tokens, images, seconds of sound)."""
Timed = Callable[[], tuple[int, float]]
"""Work that says itself how many seconds it took, where that is not until it returns."""

ROUND_SECONDS = 0.25
"""How long short work is repeated in one round, about."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One contestant over all rounds. ``rates`` are items a second, one a round."""

    name: str
    rates: tuple[float, ...]
    items: int

    @property
    def rate(self) -> float:
        """Median items a second."""
        return statistics.median(self.rates)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Contestants measured in turn. The first one is ours; the others are peers."""

    contestants: tuple[Measured, ...]

    def ratios(self, peer: str) -> list[float]:
        """Our rate over the peer's, round by round: above 1 means that we are faster."""
        ours = self.contestants[0]
        theirs = next(c for c in self.contestants if c.name == peer)
        return [a / b for a, b in zip(ours.rates, theirs.rates, strict=True)]

    def ratio(self, peer: str) -> float:
        """Median of :meth:`ratios`."""
        return statistics.median(self.ratios(peer))


def alternate(contestants: Mapping[str, Work], *, rounds: int, warmup: int = 1) -> Comparison:
    """Let the contestants take turns.

    Args:
        contestants: name -> work; the first is ours.
        rounds: counted rounds.
        warmup: rounds before them that are not counted (first calls allocate, compile and fill caches).
    """
    gc.collect()
    return take_turns({name: _timed(work) for name, work in contestants.items()}, rounds=rounds, warmup=warmup)


def take_turns(contestants: Mapping[str, Timed], *, rounds: int, warmup: int = 1) -> Comparison:
    """:func:`alternate`, for work that takes its own time."""
    names = list(contestants)
    rates: dict[str, list[float]] = {name: [] for name in names}
    items: dict[str, int] = {}
    for turn in range(-warmup, rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            items[name], seconds = contestants[name]()
            if turn >= 0:
                rates[name].append(items[name] / seconds)
    return Comparison(tuple(Measured(name, tuple(rates[name]), items[name]) for name in names))


def long_enough(contestants: Mapping[str, Work]) -> dict[str, Work]:
    """The same work, by all as often in one round as takes the first about :data:`ROUND_SECONDS`."""
    ours = next(iter(contestants.values()))
    ours()
    begin = time.perf_counter()
    ours()
    times = max(1, round(ROUND_SECONDS / (time.perf_counter() - begin)))
    return {name: _repeated(work, times) for name, work in contestants.items()}


def _timed(work: Work) -> Timed:
    def timed() -> tuple[int, float]:
        begin = time.perf_counter()
        items = work()
        return items, time.perf_counter() - begin

    return timed


def _repeated(work: Work, times: int) -> Work:
    return lambda: sum(work() for _ in range(times))
