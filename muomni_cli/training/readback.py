"""Brings numbers from the device to the host without making the device wait. Knows nothing of what they mean."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import torch
from torch import Tensor

Tag = TypeVar("Tag")


class Readback(Generic[Tag]):
    """A queue of small vectors on their way from ``device``.

    On CUDA, :meth:`post` starts a copy into pinned memory and returns at once; :meth:`take` gives what has arrived.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._waiting: deque[tuple[Tag, Tensor, torch.cuda.Event | None]] = deque()

    def post(self, tag: Tag, values: Tensor) -> None:
        """Send ``values`` (n,) on their way; ``tag`` comes back with them."""
        if not self._cuda:
            self._waiting.append((tag, values.clone(), None))
            return
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._waiting.append((tag, host, event))

    def take(self, *, wait: bool = False) -> list[tuple[Tag, list[float]]]:
        """What has arrived, in order; with ``wait``, all that was posted."""
        arrived: list[tuple[Tag, list[float]]] = []
        while self._waiting:
            tag, values, event = self._waiting[0]
            if event is not None and wait:
                event.synchronize()
            if event is not None and not event.query():  # type: ignore[no-untyped-call]
                break
            self._waiting.popleft()
            arrived.append((tag, values.tolist()))
        return arrived
