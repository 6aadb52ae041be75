"""How sure a share is: bootstrap intervals, by whole speakers where examples share one, and Wilson's where there are
too few to resample. Knows numbers and keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000
FEW = 30
"""Examples below which the interval of a share is Wilson's."""

Z = 1.959964
"""Standard deviations on either side of the mean that hold 95 % of a normal distribution."""

BLOCK = 1 << 22
"""Draws that are held at a time."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the mean is with 95 % confidence.

    Args:
        low, high: the 2.5th and the 97.5th percentile of the resampled means, or Wilson's interval.
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

    Resampling scores that are all the same gives no interval at all, and few of them give too narrow a one. A share
    gets Wilson's interval (1927) where fewer than ``FEW`` examples are drawn, or where all means come out the same.

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
    unit = "key" if by_key else "example"
    mean = float(sums.sum() / counts.sum())
    if not by_key and len(sums) < FEW and sizes is None and _is_share(values):
        return Interval(*wilson(mean, len(sums)), unit, count)
    means = _resampled(sums, counts, np.random.default_rng(seed))
    low, high = np.percentile(means, (2.5, 97.5))
    if math.isclose(low, high, abs_tol=1e-12) and (_is_share(values) or _is_error_rate(values, sizes, mean)):
        low, high = wilson(mean, len(sums))
    return Interval(float(low), float(high), unit, count)


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of ``count`` independent examples; it holds the share itself."""
    share = min(1.0, max(0.0, share))
    middle = share + Z * Z / (2 * count)
    half = Z * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    scale = 1 + Z * Z / count
    return max(0.0, min(share, (middle - half) / scale)), min(1.0, max(share, (middle + half) / scale))


def _is_share(values: NDArray[np.float64]) -> bool:
    """Whether each example is right or wrong."""
    return bool(np.isin(values, (0.0, 1.0)).all())


def _is_error_rate(values: NDArray[np.float64], sizes: Sequence[float] | None, mean: float) -> bool:
    """Whether the mean is one of errors out of ``sizes``, and no more than all of them."""
    return sizes is not None and bool((values >= 0).all()) and mean <= 1


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
