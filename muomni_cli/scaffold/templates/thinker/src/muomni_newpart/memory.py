"""What the Thinker remembers of the tokens it has read: a :class:`muomni_cli.api.Cache` of one size.

Shapes: B batch, T tokens, D width, R how far a layer looks back.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Memory:
    """The last R inputs of each layer.

    Args:
        held: (B,R,D) for each layer.
        capacity: most tokens that a row may read.
    """

    def __init__(self, held: Sequence[Tensor], capacity: int) -> None:
        self.held, self._capacity = list(held), capacity
        self._lengths = [0] * len(held[0])

    @property
    def lengths(self) -> list[int]:
        """Tokens read by each row."""
        return list(self._lengths)

    @property
    def capacity(self) -> int:
        """Most tokens that a row may read."""
        return self._capacity

    def take(self, seen: Sequence[Tensor], new: Sequence[int]) -> None:
        """Keep the last R of what each layer has looked at, (B,R+T,D), up to each row's last real token."""
        self._lengths = [held + more for held, more in zip(self._lengths, new, strict=True)]
        starts = torch.tensor(list(new), device=seen[0].device)[:, None]
        for layer, (before, all_of_it) in enumerate(zip(self.held, seen, strict=True)):
            places = starts + torch.arange(before.shape[1], device=starts.device)
            self.held[layer] = all_of_it.gather(1, places[..., None].expand(-1, -1, all_of_it.shape[2]))

    def truncate(self, lengths: Sequence[int]) -> None:
        """Not possible, and so not declared: what has left the memory is gone."""
        raise NotImplementedError("a memory of fixed size cannot be cut back")
