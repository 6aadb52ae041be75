"""In which order examples are drawn: weighted between sources, shuffled by seed, like sizes together. No state.

Knows numbers alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

POOL = 32
"""Batches that are sorted by size together before they are shuffled: enough for little padding, and little enough that
who meets whom in a batch changes from epoch to epoch."""


class Order:
    """Draws of examples by number.

    Args:
        sizes: of each example; only their order matters.
        sources: which source each came from.
        weights: how often each source is drawn, relative to the others, whatever its size.
        seed: another seed, another order.
    """

    def __init__(self, sizes: Sequence[int], sources: Sequence[int], weights: Sequence[float], seed: int) -> None:
        self._sizes = np.asarray(sizes, np.int64)
        self._seed = seed
        owner = np.asarray(sources, np.int64)
        self._members = [np.flatnonzero(owner == source) for source in range(len(weights))]
        shares = np.array([w if len(m) else 0.0 for w, m in zip(weights, self._members, strict=True)])
        # An epoch is as many draws as there are examples; each source has its share of them.
        self._quota = np.maximum(np.rint(shares / shares.sum() * len(owner)), shares > 0).astype(np.int64)
        self._epoch = lru_cache(maxsize=4)(self._make_epoch)

    def draw(self, step: int, batch_size: int) -> list[int]:
        """Indices of batch number ``step``."""
        in_epoch = max(1, int(self._quota.sum()) // batch_size)
        epoch, place = divmod(step, in_epoch)
        return [int(index) for index in self._epoch(epoch, batch_size)[place]]

    def every(self, batch_size: int) -> Iterator[list[int]]:
        """All indices once, from the smallest to the largest."""
        order = np.argsort(self._sizes, kind="stable")
        for begin in range(0, len(order), batch_size):
            yield order[begin : begin + batch_size].tolist()

    def _make_epoch(self, epoch: int, batch_size: int) -> list[NDArray[np.int64]]:
        """Batches of an epoch. What is left over after the last whole batch waits for a later epoch's shuffle."""
        rng = np.random.default_rng([self._seed, epoch])
        drawn = rng.permutation(np.concatenate([self._of_source(s, epoch) for s in range(len(self._members))]))
        if len(drawn) < batch_size:
            drawn = np.resize(drawn, batch_size)
        batches: list[NDArray[np.int64]] = []
        whole = len(drawn) // batch_size
        for begin in range(0, whole, POOL):
            pool = drawn[begin * batch_size : min(begin + POOL, whole) * batch_size]
            pool = pool[np.argsort(self._sizes[pool], kind="stable")]
            batches += np.split(pool, len(pool) // batch_size)
        return [batches[place] for place in rng.permutation(len(batches))]

    def _of_source(self, source: int, epoch: int) -> NDArray[np.int64]:
        """The draws of one source in an epoch: it goes on through its shuffled members where the epoch before ended."""
        count, members = int(self._quota[source]), self._members[source]
        if not count:
            return members[:0]
        rounds = range(epoch * count // len(members), ((epoch + 1) * count - 1) // len(members) + 1)
        order = np.concatenate([np.random.default_rng([self._seed, source, r]).permutation(members) for r in rounds])
        begin = epoch * count - rounds.start * len(members)
        return order[begin : begin + count]
