"""Training batches: windows over text, and examples grouped by length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

FILL = 1 << 20  # bytes written at a time when a mask is started late
CYCLE = 1000  # number of draws after which a mixture has drawn from every source in its exact proportion
# Batches that are sorted by size together before shuffling: enough for little padding, few enough that batches are
# composed differently in each epoch.
POOL = 32


Drawn = Sequence[tuple[int, int]]
"""How many steps were drawn with which batch size, in order."""


def drawn_until(before: Drawn, done: int, batch_size: int) -> list[tuple[int, int]]:
    """What ``done`` steps have drawn, the last of them, after ``before``, with ``batch_size``."""
    earlier = other_sizes(before, batch_size)
    return [*earlier, (done - sum(steps for steps, _ in earlier), batch_size)]


def other_sizes(drawn: Drawn, batch_size: int) -> list[tuple[int, int]]:
    """``drawn`` up to where ``batch_size`` began."""
    found = list(drawn)
    while found and found[-1][1] == batch_size:
        found.pop()
    return found


def token_type(vocab_size: int) -> np.dtype[Any]:
    """The smallest dtype that holds every id."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


@dataclass(frozen=True, slots=True)
class TokenStream:
    """N tokens on disk, in document order."""

    source: str  # name of their source
    tokens: NDArray[Any]  # (N,) ids, memory-mapped
    mask: NDArray[np.uint8] | None = None  # (N,) 1 for tokens to train on, memory-mapped; None: all

    def __len__(self) -> int:
        return len(self.tokens)


def open_stream(path: Path, source: str, dtype: np.dtype[Any]) -> TokenStream:
    """Map what :class:`StreamWriter` wrote to ``path``."""
    mask = path.with_suffix(".mask")
    return TokenStream(source, map_file(path, dtype), map_file(mask, np.dtype(np.uint8)) if mask.exists() else None)


def map_file(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A file as a memory-mapped flat array."""
    # An empty file cannot be mapped.
    return np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype)


class StreamWriter(ExitStack):
    """Appends to the stream ``path`` (``.tokens``), and closes its files as a context manager. The mask file is created
    for the first document that is not trained on completely. ``dtype``: from :func:`token_type`."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        super().__init__()
        self._path, self._dtype = path, dtype
        self._tokens: BinaryIO = self.enter_context(path.open("wb"))
        self._mask: BinaryIO | None = None
        self.count = 0

    def append(self, ids: Sequence[int], mask: Sequence[bool] | None = None) -> None:
        """Append tokens. ``mask``: which of them to train on; None: all."""
        self._tokens.write(np.asarray(ids, self._dtype).tobytes())
        if mask is not None and self._mask is None:
            self._mask = self.enter_context(self._path.with_suffix(".mask").open("wb"))
            for start in range(0, self.count, FILL):
                self._mask.write(b"\1" * min(FILL, self.count - start))
        if self._mask is not None:
            self._mask.write(bytes(mask) if mask is not None else b"\1" * len(ids))
        self.count += len(ids)


@dataclass(frozen=True, slots=True)
class Window:
    """A batch of windows."""

    tokens: NDArray[np.int64]  # (B, L+1) int64 ids, padded with 0 after the end of a stream
    # (B, L) bool, whether ``tokens[:, 1:]`` is a target: false for padding and tokens not to train on
    mask: NDArray[np.bool_]


@dataclass(slots=True)
class _Track:
    """One stream cut into windows, with a new order and offset in each epoch.

    The first and last window of an epoch may be shorter. Sizes of the first window are restricted so that the number of
    windows is the same in every epoch; at least half of all offsets remain.
    """

    stream: TokenStream
    length: int
    seed: Sequence[int]
    _orders: dict[int, tuple[int, NDArray[np.int64]]] = field(default_factory=dict)

    @property
    def targets(self) -> int:
        return len(self.stream) - 1

    @property
    def firsts(self) -> range:
        """Possible sizes of the first window."""
        if self.targets <= self.length:
            return range(self.length, self.length + 1)
        rest = self.targets % self.length
        if rest == 0:
            return range(1, max(2, self.length))
        return range(1, rest) if rest > self.length // 2 + 1 else range(rest, self.length + 1)

    @property
    def count(self) -> int:
        return 1 + max(0, -(-(self.targets - self.firsts.start) // self.length))

    def span(self, index: int, first: int) -> tuple[int, int]:
        """Begin and end (including the last target) of window ``index`` of an epoch."""
        begin = first + (index - 1) * self.length if index else 0
        return begin, min(first + index * self.length, self.targets) + 1

    def draw(self, number: int) -> tuple[int, int]:
        """Span of the ``number``-th window drawn since the start."""
        epoch, place = divmod(number, self.count)
        first, order = self._order(epoch)
        return self.span(int(order[place]), first)

    def _order(self, epoch: int) -> tuple[int, NDArray[np.int64]]:
        """Size of the first window and order of an epoch, cached for the last two (a batch may need both)."""
        known = self._orders.get(epoch)
        if known is None:
            baseline = np.random.default_rng([*self.seed, epoch])
            first, order = int(baseline.choice(self.firsts)), baseline.permutation(self.count)
            known = first, self._learnable(first, order)
            self._orders = {**{e: o for e, o in self._orders.items() if e == epoch - 1}, epoch: known}
        return known

    def _learnable(self, first: int, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """``order`` with every window that has no target replaced by one that has some."""
        if self.stream.mask is None:
            return order
        begins = np.maximum(0, first + self.length * np.arange(-1, self.count - 1)) + 1  # first target of each window
        empty = np.maximum.reduceat(self.stream.mask, begins)[order] == 0
        if empty.any() and not empty.all():
            order[empty] = np.resize(order[~empty], int(empty.sum()))
        return order


class Windows:
    """Windows of ``length`` L over one or several streams of at least two tokens each, drawn by ``weights``, which are
    independent of the streams' sizes, in an order that ``seed`` decides."""

    def __init__(
        self, streams: Sequence[TokenStream], weights: Sequence[float], length: int, seed: int, drawn: Drawn = ()
    ) -> None:
        self._tracks = [_Track(stream, length, (seed, index)) for index, stream in enumerate(streams)]
        self._length, self._seed, self._drawn = length, seed, drawn
        # the stream of each draw in a cycle, before shuffling; every stream has at least one
        draws = np.maximum(1, np.rint(np.asarray(weights, np.float64) / sum(weights) * CYCLE)).astype(np.int64)
        self._slots = np.repeat(np.arange(len(draws)), draws)

    def __len__(self) -> int:
        """Windows in one pass over every stream."""
        return sum(track.count for track in self._tracks)

    def batch(self, step: int, batch_size: int) -> Window:
        """Batch ``step``: a pure function of the seed, both arguments, and what was drawn with other batch sizes."""
        earlier = other_sizes(self._drawn, batch_size)
        begin = sum(steps * size for steps, size in earlier)
        begin += (step - sum(steps for steps, _ in earlier)) * batch_size
        return self._gather([self._draw(draw) for draw in range(begin, begin + batch_size)])

    def batches(self, batch_size: int = 1) -> Iterator[Window]:
        """All windows that have a target, in text order; every target is one once. The last batch may be smaller."""
        held: list[tuple[TokenStream, int, int]] = []
        for track in self._tracks:
            whole = max(1, -(-track.targets // self._length))
            for index in range(whole):
                begin, end = track.span(index, self._length)
                if track.stream.mask is not None and not track.stream.mask[begin + 1 : end].any():
                    continue
                held.append((track.stream, begin, end))
                if len(held) == batch_size:
                    yield self._gather(held)
                    held = []
        if held:
            yield self._gather(held)

    def _draw(self, draw: int) -> tuple[TokenStream, int, int]:
        if len(self._tracks) == 1:
            return (self._tracks[0].stream, *self._tracks[0].draw(draw))
        cycle, place = divmod(draw, len(self._slots))
        order = np.random.default_rng([self._seed, len(self._tracks), cycle]).permutation(self._slots)
        chosen = int(order[place])
        before = int(np.count_nonzero(order[:place] == chosen))
        number = cycle * int(np.count_nonzero(self._slots == chosen)) + before
        return (self._tracks[chosen].stream, *self._tracks[chosen].draw(number))

    def _gather(self, spans: Sequence[tuple[TokenStream, int, int]]) -> Window:
        tokens = np.zeros((len(spans), self._length + 1), np.int64)
        mask = np.zeros((len(spans), self._length), np.bool_)
        for row, (stream, begin, end) in enumerate(spans):
            tokens[row, : end - begin] = stream.tokens[begin:end]
            mask[row, : end - begin - 1] = True if stream.mask is None else stream.mask[begin + 1 : end]
        return Window(tokens, mask)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Streams and their sampling weights, which are independent of their sizes."""

    streams: Sequence[TokenStream]
    weights: Sequence[float]
    drawn: Drawn = ()  # before training was resumed

    def __len__(self) -> int:
        """Tokens in all streams."""
        return sum(map(len, self.streams))

    def windows(self, length: int, seed: int = 0) -> Windows:
        return Windows(self.streams, self.weights, length, seed, self.drawn)


class BatchSampler:
    """Draws batches of example indices, in an order that ``seed`` decides.

    Args:
        sizes: of each example; only their order matters.
        sources: source number of each example.
        weights: sampling weight of each source, independent of its size.

    Attributes:
        drawn: before training was resumed. Steps of another batch size than the next count by their examples.
    """

    drawn: Drawn = ()

    def __init__(self, sizes: Sequence[int], sources: Sequence[int], weights: Sequence[float], seed: int) -> None:
        self._sizes = np.asarray(sizes, np.int64)
        self._seed = seed
        owner = np.asarray(sources, np.int64)
        self._members = [np.flatnonzero(owner == source) for source in range(len(weights))]
        shares = np.array([w if len(m) else 0.0 for w, m in zip(weights, self._members, strict=True)])
        # An epoch has as many draws as there are examples, divided between sources by weight.
        self._quota = np.maximum(np.rint(shares / (shares.sum() or 1.0) * len(owner)), shares > 0).astype(np.int64)
        self._epoch = lru_cache(maxsize=4)(self._make_epoch)
        self._resumed = lru_cache(maxsize=4)(self._resume)

    def batch(self, step: int, batch_size: int) -> list[int]:
        assert len(self._sizes), "data with an empty side are refused when they are opened"
        begun, epoch, rest = self._resumed(tuple(other_sizes(self.drawn, batch_size)), batch_size)
        step -= begun
        if step >= len(rest):
            later, place = divmod(step - len(rest), self._in_epoch(batch_size))
            rest, step = self._epoch(epoch + later, batch_size), place
        return [int(index) for index in rest[step]]

    def batches(self, batch_size: int) -> Iterator[list[int]]:
        order = np.argsort(self._sizes, kind="stable")
        for begin in range(0, len(order), batch_size):
            yield order[begin : begin + batch_size].tolist()

    def _make_epoch(self, epoch: int, batch_size: int) -> list[NDArray[np.int64]]:
        """Batches of an epoch, and then the remainder after the last whole batch, which is left for later epochs."""
        rng = np.random.default_rng([self._seed, epoch])
        drawn = rng.permutation(np.concatenate([self._of_source(s, epoch) for s in range(len(self._members))]))
        if len(drawn) < batch_size:
            drawn = np.resize(drawn, batch_size)
        return self._group(drawn, batch_size, rng)

    def _group(self, drawn: NDArray[np.int64], batch_size: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
        batches: list[NDArray[np.int64]] = []
        whole = len(drawn) // batch_size
        for begin in range(0, whole, POOL):
            pool = drawn[begin * batch_size : min(begin + POOL, whole) * batch_size]
            pool = pool[np.argsort(self._sizes[pool], kind="stable")]
            batches += np.split(pool, len(pool) // batch_size)
        return [*(batches[place] for place in rng.permutation(whole)), drawn[whole * batch_size :]]

    def _in_epoch(self, batch_size: int) -> int:
        return max(1, int(self._quota.sum()) // batch_size)

    def _resume(self, earlier: Drawn, batch_size: int) -> tuple[int, int, list[NDArray[np.int64]]]:
        """After ``earlier`` steps: their number, the next whole epoch, and batches of what the begun one has left."""
        epoch, left = 0, np.zeros(0, np.int64)
        for steps, size in earlier:
            rest = self._group(left, size, np.random.default_rng([self._seed, epoch, size]))
            whole = len(rest) - 1
            place = steps
            if steps > whole:
                later, place = divmod(steps - whole, self._in_epoch(size))
                epoch += later
                rest = self._epoch(epoch, size) if place else []
                epoch += bool(place)
            left = np.concatenate([left[:0], *rest[place:]])
        rest = self._group(left, batch_size, np.random.default_rng([self._seed, epoch, batch_size]))
        return sum(steps for steps, _ in earlier), epoch, rest[:-1]

    def _of_source(self, source: int, epoch: int) -> NDArray[np.int64]:
        """The draws of one source in an epoch; continues through its shuffled members where the last epoch ended."""
        count, members = int(self._quota[source]), self._members[source]
        if not count:
            return members[:0]
        rounds = range(epoch * count // len(members), ((epoch + 1) * count - 1) // len(members) + 1)
        order = np.concatenate([np.random.default_rng([self._seed, source, r]).permutation(members) for r in rounds])
        begin = epoch * count - rounds.start * len(members)
        return order[begin : begin + count]


class Sampled:
    """Examples whose batches of indices are drawn by :attr:`sampler`."""

    sampler: BatchSampler

    def batch(self, step: int, batch_size: int) -> list[int]:
        return self.sampler.batch(step, batch_size)

    def batches(self, batch_size: int) -> Iterator[list[int]]:
        return self.sampler.batches(batch_size)
