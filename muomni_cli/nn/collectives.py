"""What the processes of a distributed training compute together: shares of the work, and sums over all of them.

With one process a share is everything and a sum is the value itself, so objectives call these functions always. An
objective that calls none of them computes its figures in every process, which is slower and right, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def share(items: Iterable[T]) -> Iterator[T]:
    """This process's share of ``items``, such as the batches of a validation: every one goes to exactly one process."""
    return islice(items, rank(), None, world_size())


def total(values: Tensor) -> Tensor:
    """The sum of ``values`` over all processes, on the device of ``values``; the same bits in every process."""
    if world_size() == 1:
        return values
    summed = values.detach().clone()
    dist.all_reduce(summed)
    return summed


def totals(numbers: Sequence[float]) -> list[float]:
    """The sum of each number over all processes, in float64."""
    if world_size() == 1:
        return list(numbers)
    return cast("list[float]", total(torch.tensor(list(numbers), dtype=torch.float64)).tolist())


def from_first(make: Callable[[], T]) -> T:
    """What ``make`` returns in the first process, in all of them; only the first one calls it."""
    if world_size() == 1:
        return make()
    held: list[Any] = [make() if rank() == 0 else None]
    dist.broadcast_object_list(held, src=0)
    return cast("T", held[0])
