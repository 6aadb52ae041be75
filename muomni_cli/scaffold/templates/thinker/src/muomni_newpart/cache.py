"""The Thinker's cache: a :class:`muomni_cli.api.Cache` of fixed size.

Shapes: B batch, T tokens, D width, R earlier tokens that a layer depends on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class StateCache:
    """The last R inputs of each layer, ``held`` (B,R,D) each."""

    def __init__(self, held: Sequence[Tensor], capacity: int) -> None:
        self.held, self._capacity = list(held), capacity
        self._lengths = [0] * len(held[0])

    @property
    def lengths(self) -> list[int]:
        """Tokens read by each row."""
        return list(self._lengths)

    @property
    def capacity(self) -> int:
        """Maximum number of tokens per row."""
        return self._capacity

    def take(self, seen: Sequence[Tensor], new: Sequence[int]) -> None:
        """Keep the last R inputs of each layer, from (B,R+T,D) ``seen``, before each row's padding; ``new`` counts the
        tokens of each row."""
        self._lengths = [held + more for held, more in zip(self._lengths, new, strict=True)]
        starts = torch.tensor(list(new), device=seen[0].device)[:, None]
        for layer, (before, all_of_it) in enumerate(zip(self.held, seen, strict=True)):
            places = starts + torch.arange(before.shape[1], device=starts.device)
            self.held[layer] = all_of_it.gather(1, places[..., None].expand(-1, -1, all_of_it.shape[2]))

    def truncate(self, lengths: Sequence[int]) -> None:
        """Impossible, so the capability is not declared: old inputs are gone."""
        raise NotImplementedError("a cache of fixed size cannot be truncated")

    def copy_rows(self, start: int, source: StateCache, rows: Sequence[int]) -> None:
        """Replace the rows from ``start`` on by ``rows`` of ``source``."""
        places = slice(start, start + len(rows))
        for layer, other in enumerate(source.held):
            self.held[layer] = self.held[layer].clone()
            self.held[layer][places] = other[list(rows)]
        self._lengths[places] = [source.lengths[row] for row in rows]
