"""Which process is gone, or keeps the others waiting.

A thread of each process puts into the store how far its process has got. A process that waits for another within a step
for longer than the timeout looks there for the one that is behind.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from muomni_cli.core.console import print_error
from muomni_cli.training.distributed.group import LostPeerError, ProcessGroup, leave_lost

BEAT = 1.0  # seconds between two signs of life
SILENT = 15.0  # seconds without a sign of life after which a process counts as gone
SLACK = 5.0  # seconds that collectives get to report the timeout themselves


class Watch:
    """Counts what this process has done in a stage, and compares. ``stage``: for messages."""

    def __init__(self, group: ProcessGroup, stage: str) -> None:
        self._group, self._stage = group, stage
        self._done = 0
        self._since = time.monotonic()
        self._ended = threading.Event()
        self._seen: dict[int, tuple[str, float]] = {}  # the last sign of life of each process, and when it changed
        self._thread = threading.Thread(target=self._beat, name="muomni-watch", daemon=True)
        self._lock = threading.Lock()

    def progressed(self) -> None:
        with self._lock:
            self._done += 1
            self._since = time.monotonic()
        if not self._thread.is_alive() and not self._ended.is_set():
            with suppress(RuntimeError):  # another thread has just started it
                self._thread.start()

    def close(self) -> None:
        self._ended.set()

    def missing(self) -> LostPeerError:
        """What is wrong after a collective has failed."""
        group, now = self._group, time.monotonic()
        self._look()
        others = {rank: seen for rank, seen in self._seen.items() if rank != group.rank}
        if not others:
            return self._error("the other processes are gone, or the network to them is", named=False)
        silent = [rank for rank, (_, changed) in others.items() if now - changed > SILENT]
        if silent:
            names = ", ".join(map(group.name_of, silent))
            return self._error(f"no sign of life from {names} for {SILENT:.0f} s", named=True)
        counts = {rank: int(sign.partition(" ")[0]) for rank, (sign, _) in others.items()}
        behind = min(counts, key=lambda rank: counts[rank])
        waited = now - self._since
        if counts[behind] < self._done and waited > group.timeout / 2:
            name = group.name_of(behind)
            return self._error(f"{name} is behind: the others have waited for it for {waited:.0f} s", named=True)
        return self._error("another process has left, or the network between them is lost", named=False)

    def _error(self, what: str, *, named: bool) -> LostPeerError:
        return LostPeerError(f"{self._stage}: {what}", "continue from the last checkpoint with --resume", named=named)

    def _beat(self) -> None:
        """Report and look until the stage ends. A process that hangs in a collective for longer than the timeout, which
        some backends do, is ended here."""
        beats = 0
        while not self._ended.wait(BEAT):
            beats += 1
            try:
                self._group.store.set(f"done/{self._stage}/{self._group.rank}", f"{self._done} {beats}")
                self._look()
            except Exception:  # the store is gone: collectives fail as well, and say so
                if time.monotonic() - self._since > self._group.timeout + SLACK:
                    self._give_up(
                        self._error("the process that keeps the store is gone, or the network to it is", named=True)
                    )
                continue
            if time.monotonic() - self._since > self._group.timeout + SLACK:
                counts = [int(sign.partition(" ")[0]) for sign, _ in self._seen.values()]
                if counts and self._done > min(counts):  # not the one that the others wait for
                    self._give_up(self.missing())

    def _look(self) -> None:
        now = time.monotonic()
        for rank in range(self._group.world_size):
            key = f"done/{self._stage}/{rank}"
            with suppress(Exception):
                if self._group.store.check([key]):
                    sign = self._group.store.get(key).decode()
                    if self._seen.get(rank, ("", 0.0))[0] != sign:
                        self._seen[rank] = sign, now

    def _give_up(self, error: LostPeerError) -> None:
        """End the process, whose main thread hangs in a collective."""
        if not self._ended.is_set():
            leave_lost(error, self._group)
            print_error(error.what, error.fix)
            os._exit(1)
