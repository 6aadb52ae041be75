"""The key-value cache of a transformer, for rows that may differ in length.

Lengths are plain ints on the host, so no step waits for the device to learn how long a row is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from muomni_cli.core.errors import RequestError


class WritableCache(Protocol):
    """The cache interface of a layer."""

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store (B,H,T,Dh) new keys and values of ``layer``; returns all of them, (B,H,S,Dh) each."""
        ...


class KVCache:
    """Preallocated keys and values (L,B,H,S,Dh) of which row b holds its first ``lengths[b]`` positions.

    One forward pass is ``reserve`` once, ``write`` once a layer, and ``commit`` once. While all rows are equally long,
    a write is a slice; rows of different lengths are written by index.
    """

    def __init__(self, *, layers: int, batch: int, heads: int, capacity: int, head_dim: int, like: Tensor) -> None:
        # Zeros, not empty: a masked position still enters the weighted sum with weight 0, and 0 * NaN is NaN.
        self.keys = like.new_zeros(layers, batch, heads, capacity, head_dim)
        self.values = like.new_zeros(layers, batch, heads, capacity, head_dim)
        self._lengths = [0] * batch
        self._end = self._count = 0  # of the reservation: length of the longest row, new tokens of the widest
        self._places: list[tuple[Tensor, Tensor]] = []  # per layer: where the new keys and values go
        self._held: list[tuple[Tensor, Tensor]] = []  # per layer: everything up to the longest row
        self._target: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def lengths(self) -> list[int]:
        return list(self._lengths)

    @property
    def capacity(self) -> int:
        return self.keys.shape[3]

    def truncate(self, lengths: Sequence[int]) -> None:
        """Drop all but the first ``lengths[b]`` tokens of row b. RequestError if a length is missing or too large."""
        if len(lengths) != len(self._lengths):
            raise RequestError(
                f"the cache holds {len(self._lengths)} rows and was given {len(lengths)} lengths",
                "give one length for each row",
            )
        for row, (new, old) in enumerate(zip(lengths, self._lengths, strict=True)):
            if not 0 <= new <= old:
                raise RequestError(
                    f"row {row} of the cache holds {old} tokens and cannot be cut to {new}", "cut to less"
                )
        self._lengths = list(lengths)

    def copy_rows(self, start: int, source: KVCache, rows: Sequence[int]) -> None:
        """Replace the rows of this cache from ``start`` on by ``rows`` of ``source``. RequestError if one does not
        fit."""
        for number, row in enumerate(rows, start):
            length = source._lengths[row]
            if length > self.capacity:
                raise RequestError(
                    f"the cache has room for {self.capacity} tokens; the row holds {length}", "make the cache larger"
                )
            self.keys[:, number, :, :length] = source.keys[:, row, :, :length]
            self.values[:, number, :, :length] = source.values[:, row, :, :length]
            self._lengths[number] = length

    @property
    def uniform(self) -> bool:
        return self._lengths.count(self._lengths[0]) == len(self._lengths)

    def reserve(self, counts: Sequence[int]) -> None:
        """Make room for ``counts[b]`` new tokens in row b. RequestError if a row would exceed the capacity."""
        totals = [held + new for held, new in zip(self._lengths, counts, strict=True)]
        self._end, self._count = max(totals), max(counts)
        if self._end > self.capacity:
            full = totals.index(self._end)
            raise RequestError(
                f"the cache has room for {self.capacity} tokens; row {full} holds {self._lengths[full]} "
                f"and {counts[full]} more would make {self._end}",
                "make the cache larger, or give fewer tokens",
            )
        self._target = None
        if not self.uniform:  # of every real new token: its row, its position among the new ones and in the cache
            places = [(b, t, held + t) for b, held in enumerate(self._lengths) for t in range(counts[b])]
            row, source, target = torch.tensor(places, device=self.keys.device).unbind(1)
            self._target = row, source, target
        self._held = self._views(0, self._end)
        self._places = [] if self._target else self._views(self._lengths[0], self._count)

    def _views(self, begin: int, count: int) -> list[tuple[Tensor, Tensor]]:
        """Keys and values (B,H,count,Dh) of each layer, as views."""
        keys, values = (held.narrow(3, begin, count).unbind() for held in (self.keys, self.values))
        return list(zip(keys, values, strict=True))

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store (B,H,T,Dh) new keys and values of ``layer``; returns all up to the longest row, (B,H,S',Dh) each."""
        keys, values = self._held[layer]
        if self._target is None:
            if key.shape[2] != self._count:  # the rest is padding in every row
                key, value = key.narrow(2, 0, self._count), value.narrow(2, 0, self._count)
            new_keys, new_values = self._places[layer]
            new_keys.copy_(key)
            new_values.copy_(value)
        else:
            row, source, target = self._target
            keys[row, :, target] = key[row, :, source].to(keys.dtype)
            values[row, :, target] = value[row, :, source].to(values.dtype)
        return keys, values

    def commit(self, counts: Sequence[int]) -> None:
        """Count the new tokens, once every layer has written them."""
        self._lengths = [held + new for held, new in zip(self._lengths, counts, strict=True)]
