"""Prepares the micro-batches of the next steps in a background thread.

Knows no data: it calls ``Objective.batch``, which is a pure function of step and micro-batch, so the order of threads
changes nothing.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType

import torch

from muomni_cli.contract.training import Batch, Objective


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on ``device``; the copy does not wait where the host memory is pinned."""
    return replace(batch, tensors={name: t.to(device, non_blocking=True) for name, t in batch.tensors.items()})


class Prefetch:
    """The batches of ``steps``, in order, at most ``depth`` steps ahead. A context manager.

    Args:
        objective: what makes the batches.
        steps: which (from 0).
        accumulate: micro-batches a step.
        pin: put tensors into pinned memory (for CUDA).
    """

    def __init__(
        self, objective: Objective, steps: Sequence[int], *, accumulate: int, pin: bool = False, depth: int = 2
    ) -> None:
        self._objective = objective
        self._steps = steps
        self._accumulate = accumulate
        self._pin = pin
        self._queue: queue.Queue[list[Batch] | BaseException] = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="muomni-batches", daemon=True)

    def __enter__(self) -> Prefetch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        while self._thread.is_alive():  # the thread may be waiting for room
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
        self._thread.join()

    def next(self) -> list[Batch]:
        """The micro-batches of the next step, on the host. An error of the thread is raised here."""
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def _work(self) -> None:
        try:
            for step in self._steps:
                if self._closed.is_set():
                    return
                self._queue.put([self._prepare(step, micro) for micro in range(self._accumulate)])
        except BaseException as error:
            self._queue.put(error)

    def _prepare(self, step: int, micro: int) -> Batch:
        batch = self._objective.batch(step, micro)
        if self._pin:
            batch = replace(batch, tensors={name: t.pin_memory() for name, t in batch.tensors.items()})
        return batch
