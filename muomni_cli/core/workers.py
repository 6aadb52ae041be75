"""A pool of worker processes that end with the process that started them, however that ends."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from muomni_cli.core.stopping import held_back

SAFE_PATH = "PYTHONSAFEPATH"
P = ParamSpec("P")
T = TypeVar("T")


class WorkerPool(ProcessPoolExecutor):
    """As many processes as there are cores for this one. Signals reach only the process that started them; an exception
    within ``with`` ends them at once, whatever they are doing."""

    def __init__(self) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        with held_back(), _safe_path():  # the process that removes semaphores starts here
            # Not forked: this process may have threads of torch or a display.
            super().__init__(cores, multiprocessing.get_context("spawn"), initializer=_end_with_parent)
        self.size = cores

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        with held_back(), _safe_path():  # a worker starts here
            return super().submit(fn, *args, **kwargs)

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is not None:
            for worker in multiprocessing.active_children():
                worker.kill()
        self.shutdown(cancel_futures=True)


@contextmanager
def _safe_path() -> Iterator[None]:
    """Processes that start within import nothing from the working directory, not even before they get this path."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before


def _end_with_parent() -> None:
    def wait() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, name="muomni-parent", daemon=True).start()
