"""95 % confidence intervals of means: bootstrap, over whole keys (speakers) where examples share one, or Wilson's for
few examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000
FEW = 30  # below this number of examples, the interval of a share is Wilson's
Z = 1.959964  # two-sided 95 % quantile of the normal distribution
BLOCK = 1 << 22  # draws held in memory at a time


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval."""

    low: float  # low, high: 2.5th and 97.5th percentile of the resampled means, or Wilson's interval
    high: float
    unit: str  # what was resampled: an ``example``, or a ``key`` with all of its examples
    keys: int  # number of keys


def bootstrap(
    scores: Sequence[float], keys: Sequence[str], seed: int = 0, sizes: Sequence[float] | None = None
) -> Interval:
    """The percentile bootstrap (Efron, 1979) of the mean of ``scores``, deterministic.

    Examples that share a key (clips of one speaker) are not independent, so keys are resampled if they repeat. With a
    single key, examples are. Resampling identical scores gives no interval and few scores give one that is too narrow:
    for shares, Wilson's interval (1927) is used below ``FEW`` units or if all resampled means are equal.

    Args:
        scores: one per row, at least one.
        keys: one per row; see :func:`clusters`.
        seed: of the draws.
        sizes: weight of each row if ``scores`` are sums (over the words of a sentence); default 1.
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
    is_share = bool(np.isin(values, (0.0, 1.0)).all())
    if not by_key and len(sums) < FEW and sizes is None and is_share:
        return Interval(*wilson(mean, len(sums)), unit, count)
    rng = np.random.default_rng(seed)
    at_once = max(1, BLOCK // len(sums))
    means = []
    for begin in range(0, RESAMPLES, at_once):
        drawn = rng.integers(len(sums), size=(min(at_once, RESAMPLES - begin), len(sums)))
        means.append(sums[drawn].sum(1) / counts[drawn].sum(1))
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
    is_error_rate = sizes is not None and bool((values >= 0).all()) and mean <= 1  # errors counted out of ``sizes``
    if math.isclose(low, high, abs_tol=1e-12) and (is_share or is_error_rate):
        low, high = wilson(mean, len(sums))
    return Interval(float(low), float(high), unit, count)


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of ``count`` independent examples; always contains the share."""
    share = min(1.0, max(0.0, share))
    middle = share + Z * Z / (2 * count)
    half = Z * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    scale = 1 + Z * Z / count
    return max(0.0, min(share, (middle - half) / scale)), min(1.0, max(share, (middle + half) / scale))


def clusters(keys: Sequence[str]) -> list[str]:
    """The unit to resample for each key. Of joined keys (``|``, see :class:`muomni_cli.api.Conversation`), the
    component with the fewest distinct values is used: questions about many scenes by few speakers are resampled by
    speaker."""
    parts = [key.split("|") for key in keys]
    if len({len(one) for one in parts}) != 1:
        return list(keys)
    places = [list(place) for place in zip(*parts, strict=True)]
    repeated = [place for place in places if len(set(place)) > 1]
    return min(repeated, key=lambda place: len(set(place))) if repeated else list(keys)
