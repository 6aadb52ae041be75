"""Streams of token ids on disk, and the windows of one length that they are cut into, in a seeded order without state.

A stream is ``<name>.tokens`` (little-endian uint16 where the vocabulary allows, else uint32), written piece by piece
and read through a memory map, and ``<name>.mask`` (one byte a token) where some tokens are not learned.

Letters: N tokens in a stream, L targets in a window, W windows in an epoch, B windows in a batch. A window holds L + 1
tokens: the first L are the input, the last L the targets; neighbors overlap by one token, so every token but the first
of a stream is a target exactly once an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

FILL = 1 << 20
"""Bytes of mask written at a time where one has to be filled in later."""

CYCLE = 1000
"""Draws after which a mixture has taken from every source in its exact share."""


def token_type(vocab_size: int) -> np.dtype[Any]:
    """The smallest type that holds every id."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


@dataclass(frozen=True, slots=True)
class TokenStream:
    """N tokens on disk, in the order of their documents.

    Args:
        source: which source of the recipe they came from, for people.
        tokens: (N,) ids, memory-mapped.
        mask: (N,) 1 where the token is to be learned, memory-mapped; None where all are.
    """

    source: str
    tokens: NDArray[Any]
    mask: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.tokens)


def open_stream(path: Path, source: str, dtype: np.dtype[Any]) -> TokenStream:
    """Map what :class:`StreamWriter` wrote to ``path``."""
    mask = path.with_suffix(".mask")
    return TokenStream(source, _map(path, dtype), _map(mask, np.dtype(np.uint8)) if mask.exists() else None)


def _map(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    # An empty file cannot be mapped.
    return np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype)


class StreamWriter:
    """Appends to a stream. The mask file is begun by the first document that is not to be learned whole.

    Args:
        path: the ``.tokens`` file.
        dtype: what :func:`token_type` says.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._path = path
        self._dtype = dtype
        self._open = ExitStack()
        self._tokens: BinaryIO = self._open.enter_context(path.open("wb"))
        self._mask: BinaryIO | None = None
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def append(self, ids: Sequence[int], mask: Sequence[bool] | None = None) -> None:
        """Add tokens, and for each whether it is to be learned (all of them where ``mask`` is None)."""
        self._tokens.write(np.asarray(ids, self._dtype).tobytes())
        if mask is not None and self._mask is None:
            self._mask = self._open.enter_context(self._path.with_suffix(".mask").open("wb"))
            for start in range(0, self.count, FILL):
                self._mask.write(b"\1" * min(FILL, self.count - start))
        if self._mask is not None:
            self._mask.write(bytes(mask) if mask is not None else b"\1" * len(ids))
        self.count += len(ids)


@dataclass(frozen=True, slots=True)
class Window:
    """A batch of windows.

    Args:
        tokens: (B, L+1) int64 ids; what lies behind the end of a stream is 0 (pad).
        mask: (B, L) bool, whether ``tokens[:, 1:]`` is a target: false for padding and for what is not to be learned.
    """

    tokens: NDArray[np.int64]
    mask: NDArray[np.bool_]


@dataclass(slots=True)
class _Track:
    """One stream cut into windows, in another order and at another offset each epoch.

    The first and last window of an epoch may be shorter. How long the first may be is chosen so that the number of
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
        """Sizes that the first window may have."""
        if self.targets <= self.length:
            return range(self.length, self.length + 1)
        rest = self.targets % self.length
        if rest == 0:
            return range(1, max(2, self.length))
        return range(1, rest) if rest > self.length // 2 + 1 else range(rest, self.length + 1)

    @property
    def count(self) -> int:
        """Windows in an epoch."""
        return 1 + max(0, -(-(self.targets - self.firsts.start) // self.length))

    def span(self, index: int, first: int) -> tuple[int, int]:
        """Where window ``index`` of an epoch begins and ends in the stream (its last target included)."""
        begin = first + (index - 1) * self.length if index else 0
        return begin, min(first + index * self.length, self.targets) + 1

    def draw(self, number: int) -> tuple[int, int]:
        """Span of the ``number``-th window that is ever drawn."""
        epoch, place = divmod(number, self.count)
        first, order = self._order(epoch)
        return self.span(int(order[place]), first)

    def _order(self, epoch: int) -> tuple[int, NDArray[np.int64]]:
        """First window's size and the order of an epoch, remembered for the last two (a batch may touch both)."""
        known = self._orders.get(epoch)
        if known is None:
            baseline = np.random.default_rng([*self.seed, epoch])
            known = (int(baseline.choice(self.firsts)), baseline.permutation(self.count))
            self._orders = {**{e: o for e, o in self._orders.items() if e == epoch - 1}, epoch: known}
        return known


class Windows:
    """Windows over one or several streams.

    Args:
        streams: none of them shorter than two tokens.
        weights: how often each is drawn, relative to the others, whatever its size.
        length: L.
        seed: another seed, another order.
    """

    def __init__(self, streams: Sequence[TokenStream], weights: Sequence[float], length: int, seed: int) -> None:
        self._tracks = [_Track(stream, length, (seed, index)) for index, stream in enumerate(streams)]
        self._length = length
        self._seed = seed
        self._slots = _slots(weights)

    def __len__(self) -> int:
        """Windows in one pass over every stream."""
        return sum(track.count for track in self._tracks)

    def batch(self, step: int, batch_size: int) -> Window:
        """Batch number ``step``: a pure function of the seed and both numbers."""
        draws = range(step * batch_size, (step + 1) * batch_size)
        return self._gather([self._draw(draw) for draw in draws])

    def batches(self, batch_size: int = 1) -> Iterator[Window]:
        """All windows in the order of the text, the last batch perhaps smaller; every token is a target once."""
        held: list[tuple[TokenStream, int, int]] = []
        for track in self._tracks:
            whole = max(1, -(-track.targets // self._length))
            for index in range(whole):
                held.append((track.stream, *track.span(index, self._length)))
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


def _slots(weights: Sequence[float]) -> NDArray[np.int64]:
    """Which stream each draw of a cycle takes, before shuffling; every stream has at least one."""
    shares = np.asarray(weights, np.float64) / sum(weights)
    return np.repeat(np.arange(len(shares)), np.maximum(1, np.rint(shares * CYCLE).astype(np.int64)))


@dataclass(frozen=True, slots=True)
class Mixture:
    """Streams and how often each is drawn, relative to the others, whatever its size."""

    streams: Sequence[TokenStream]
    weights: Sequence[float]

    def __len__(self) -> int:
        """Tokens in all streams."""
        return sum(map(len, self.streams))

    def windows(self, length: int, seed: int = 0) -> Windows:
        """The streams cut into windows of ``length`` targets."""
        return Windows(self.streams, self.weights, length, seed)
