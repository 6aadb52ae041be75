"""How far two outputs are from each other. Knows numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Distance = Callable[["NDArray[Any]", "NDArray[Any]"], float]
"""From what should be and what is."""


def absolute(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest difference of any number; infinite where shapes or types differ or one is NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return float("inf")
    error = float(np.max(np.abs(one.astype(np.float64) - other), initial=0.0))
    return error if np.isfinite(error) else float("inf")


def of_its_size(one: NDArray[Any], other: NDArray[Any]) -> float:
    """:func:`absolute`, in units of the usual size of ``one`` (its root mean square) where that is above 1: for states,
    which may sum up all that was read. What a wrong state does shows in what later calls give of it."""
    size = float(np.sqrt(np.mean(np.square(one, dtype=np.float64)))) if one.dtype.kind == "f" and one.size else 0.0
    error = absolute(one, other)
    return error / max(1.0, size) if np.isfinite(error) else error


def relative(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Of floats of any size, the length of the difference as a share of the length of ``one``; of whole numbers, the
    share that differs. Infinite where shapes differ or one is NaN."""
    if one.shape != other.shape or one.dtype.kind != other.dtype.kind:
        return float("inf")
    if not one.size:
        return 0.0
    if one.dtype.kind != "f":
        return float(np.mean(one != other))
    wrong, length = (float(np.linalg.norm(array.ravel())) for array in (one.astype(np.float64) - other, one))
    if not np.isfinite(wrong) or (wrong and not length):
        return float("inf")
    return wrong / length if wrong else 0.0


def forgiving(distance: Distance, undecided: float) -> Distance:
    """``distance``, but 0 for whole numbers of which no larger share than ``undecided`` differs."""

    def measured(one: NDArray[Any], other: NDArray[Any]) -> float:
        whole = undecided and one.shape == other.shape and one.dtype == other.dtype and one.dtype.kind in "iu"
        return 0.0 if whole and float(np.mean(one != other)) <= undecided else distance(one, other)

    return measured
