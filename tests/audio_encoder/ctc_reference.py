"""Scores by chance, and every way to say every text in them, counted one by one."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from muomni_audio_encoder.ctc import BLANK


def scored(tokens: int, classes: int, seed: int, sharp: float = 2.0) -> NDArray[np.float64]:
    raw = sharp * np.random.default_rng(seed).standard_normal((tokens, classes))
    return raw - np.log(np.exp(raw).sum(1, keepdims=True))


def said(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != BLANK)


def counted(scores: NDArray[np.float64]) -> dict[tuple[int, ...], list[tuple[float, tuple[int, ...]]]]:
    """Text -> log-probability of every path that says it."""
    ways = defaultdict(list)
    for path in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        ways[said(path)].append((float(scores[range(len(scores)), path].sum()), path))
    return ways
