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
BEATS = 3  # as many missed signs of life tell which process has let a collective run into its timeout
SLACK = 5.0  # seconds that collectives get to report the timeout themselves
NONE = "0 0"  # the sign of a process that has given none: steps done, and beats


class Watch:
    """Counts what this process has done in a stage, and compares. ``stage``: for messages."""

    def __init__(self, group: ProcessGroup, stage: str) -> None:
        self._group, self._stage = group, stage
        self._done = 0
        self._since = time.monotonic()
        self._begun = self._since  # the first step
        self._ended = threading.Event()
        self._seen: dict[int, tuple[str, float]] = {}  # the last sign of life of each process, and when it changed
        self._thread = threading.Thread(target=self._beat, name="muomni-watch", daemon=True)
        self._lock = threading.Lock()
        self._ranks = range(group.world_size)

    def progressed(self) -> None:
        with self._lock:
            self._done += 1
            self._since = time.monotonic()
            self._begun = self._since if self._done == 1 else self._begun
        if not self._thread.is_alive() and not self._ended.is_set():
            with suppress(RuntimeError):  # another thread has just started it
                self._thread.start()

    def close(self) -> None:
        self._ended.set()

    def missing(self) -> LostPeerError:
        """What is wrong after a collective has failed."""
        group, now = self._group, time.monotonic()
        if not self._look():
            return self._error("the other processes are gone, or the network to them is", named=False)
        # A process that has hung since its first step has given no sign at all.
        others = {rank: self._seen.get(rank, (NONE, self._begun)) for rank in self._ranks if rank != group.rank}
        waited = now - self._since
        expired = waited > group.timeout / 2  # else a connection broke, and who is silent has not been so for long
        patience = min(SILENT, max(group.timeout / 2, BEATS * BEAT)) if expired else SILENT
        silent = {rank: now - changed for rank, (_, changed) in others.items() if now - changed > patience}
        if silent:
            names = ", ".join(map(group.name_of, silent))
            return self._error(f"no sign of life from {names} for {min(silent.values()):.0f} s", named=True)
        counts = {rank: _count(sign) for rank, (sign, _) in others.items()}
        behind = min(counts, key=lambda rank: counts[rank])
        if counts[behind] < self._done and expired:
            name = group.name_of(behind)
            return self._error(f"{name} is behind: the others have waited for it for {waited:.0f} s", named=True)
        return self._error("another process has left, or the network between them is lost", named=False)

    def _error(self, what: str, *, named: bool) -> LostPeerError:
        return LostPeerError(f"{self._stage}: {what}", "continue from the last checkpoint with --resume", named=named)

    def _beat(self) -> None:
        """Report and look until the stage ends. A process that hangs in a collective for longer than the timeout, which
        some backends do, is ended here."""
        beats = 0
        while True:
            beats += 1
            try:
                self._group.store.set(f"done/{self._stage}/{self._group.rank}", f"{self._done} {beats}")
                answers = self._look()
            except Exception:
                answers = False
            if time.monotonic() - self._since > self._group.timeout + SLACK:
                if not answers:  # collectives fail as well, and say so, but some hang
                    lost = "the process that keeps the store is gone, or the network to it is"
                    self._give_up(self._error(lost, named=True))
                elif self._done > min(_count(self._seen.get(rank, (NONE, 0.0))[0]) for rank in self._ranks):
                    self._give_up(self.missing())  # this is not the one that the others wait for
            if self._ended.wait(BEAT):
                return

    def _look(self) -> bool:
        """Read how far the others have got; whether the store answers."""
        now = time.monotonic()
        try:
            for rank in self._ranks:
                key = f"done/{self._stage}/{rank}"
                if self._group.store.check([key]):
                    sign = self._group.store.get(key).decode()
                    if self._seen.get(rank, (NONE, 0.0))[0] != sign:
                        self._seen[rank] = sign, now
        except Exception:
            return False
        return True

    def _give_up(self, error: LostPeerError) -> None:
        """End the process, whose main thread hangs in a collective."""
        if not self._ended.is_set():
            leave_lost(error, self._group)
            print_error(error.what, error.fix)
            os._exit(1)


def _count(sign: str) -> int:
    return int(sign.partition(" ")[0])
