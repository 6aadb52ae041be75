"""How sure a share is: bootstrap intervals, by whole speakers where examples share one. Knows numbers and keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000
BLOCK = 1 << 22
"""Draws that are held at a time."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Where 95 % of the resampled means are.

    Args:
        low, high: the 2.5th and the 97.5th percentile.
        unit: what was drawn with replacement: an ``example``, or a ``key``, all of whose examples come along.
        keys: how many keys there are.
    """

    low: float
    high: float
    unit: str
    keys: int


def bootstrap(
    scores: Sequence[float], keys: Sequence[str], seed: int = 0, sizes: Sequence[float] | None = None
) -> Interval:
    """The percentile bootstrap (Efron, 1979) of the mean of ``scores``, with the same draws each time.

    Examples that share a key (clips of one speaker) are not independent, so where keys repeat they are what is drawn.
    A single key says nothing about others: then the interval is one of its own examples.

    Args:
        scores: one a row, at least one.
        keys: of each row; see :func:`clusters`.
        seed: another seed, other draws.
        sizes: how much each row counts, where ``scores`` are sums over that many (words of a sentence); 1 by default.
    """
    values: NDArray[np.float64] = np.asarray(scores, np.float64)
    _, owner = np.unique(np.asarray(clusters(keys), dtype=np.str_), return_inverse=True)
    count = int(owner.max()) + 1
    by_key = 1 < count < len(values)
    group = owner if by_key else np.arange(len(values))
    sums = np.bincount(group, weights=values).astype(np.float64)
    counts = np.bincount(group, weights=sizes).astype(np.float64)
    means = _resampled(sums, counts, np.random.default_rng(seed))
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(float(low), float(high), "key" if by_key else "example", count)


def _resampled(sums: NDArray[np.float64], sizes: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """The mean of each of ``RESAMPLES`` samples of groups, given their sums and sizes."""
    at_once = max(1, BLOCK // len(sums))
    means = []
    for begin in range(0, RESAMPLES, at_once):
        drawn = rng.integers(len(sums), size=(min(at_once, RESAMPLES - begin), len(sums)))
        means.append(sums[drawn].sum(1) / sizes[drawn].sum(1))
    return np.concatenate(means)


def clusters(keys: Sequence[str]) -> list[str]:
    """What of each key is drawn together. A key of several joined by ``|`` (see :class:`muomni_cli.api.Conversation`)
    is taken by the place at which there are fewest: questions about many scenes and few speakers go by speakers."""
    parts = [key.split("|") for key in keys]
    if len({len(one) for one in parts}) != 1:
        return list(keys)
    places = [list(place) for place in zip(*parts, strict=True)]
    repeated = [place for place in places if len(set(place)) > 1]
    return min(repeated, key=lambda place: len(set(place))) if repeated else list(keys)
