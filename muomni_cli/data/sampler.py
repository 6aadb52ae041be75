"""The order in which batches are drawn: a pure function of seed and step, weighted between sources and shuffled, with
inputs of similar length together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

POOL = 32
"""Batches that are sorted by size together before shuffling: enough for little padding, few enough that batches are
composed differently in each epoch."""


class BatchSampler:
    """Draws batches of example indices.

    Args:
        sizes: of each example; only their order matters.
        sources: source number of each example.
        weights: sampling weight of each source, independent of its size.
        seed: of the order.
    """

    def __init__(self, sizes: Sequence[int], sources: Sequence[int], weights: Sequence[float], seed: int) -> None:
        self._sizes = np.asarray(sizes, np.int64)
        self._seed = seed
        owner = np.asarray(sources, np.int64)
        self._members = [np.flatnonzero(owner == source) for source in range(len(weights))]
        shares = np.array([w if len(m) else 0.0 for w, m in zip(weights, self._members, strict=True)])
        # An epoch has as many draws as there are examples, divided between sources by weight.
        self._quota = np.maximum(np.rint(shares / shares.sum() * len(owner)), shares > 0).astype(np.int64)
        self._epoch = lru_cache(maxsize=4)(self._make_epoch)

    def batch(self, step: int, batch_size: int) -> list[int]:
        in_epoch = max(1, int(self._quota.sum()) // batch_size)
        epoch, place = divmod(step, in_epoch)
        return [int(index) for index in self._epoch(epoch, batch_size)[place]]

    def batches(self, batch_size: int) -> Iterator[list[int]]:
        order = np.argsort(self._sizes, kind="stable")
        for begin in range(0, len(order), batch_size):
            yield order[begin : begin + batch_size].tolist()

    def _make_epoch(self, epoch: int, batch_size: int) -> list[NDArray[np.int64]]:
        """Batches of an epoch. The remainder after the last whole batch is left for later epochs."""
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
        """The draws of one source in an epoch; continues through its shuffled members where the last epoch ended."""
        count, members = int(self._quota[source]), self._members[source]
        if not count:
            return members[:0]
        rounds = range(epoch * count // len(members), ((epoch + 1) * count - 1) // len(members) + 1)
        order = np.concatenate([np.random.default_rng([self._seed, source, r]).permutation(members) for r in rounds])
        begin = epoch * count - rounds.start * len(members)
        return order[begin : begin + count]
