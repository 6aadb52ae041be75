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
from muomni_cli.training.distributed.group import LAUNCHED, LOST, ProcessGroup

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

    def missing(self) -> tuple[str, str]:
        """What is wrong and what to do, after a collective has failed."""
        fix = "continue from the last checkpoint with --resume"
        group, now = self._group, time.monotonic()
        self._look()
        others = {rank: seen for rank, seen in self._seen.items() if rank != group.rank}
        if not others:
            return f"{self._stage}: the other processes are gone, or the network to them is", fix
        silent = [rank for rank, (_, changed) in others.items() if now - changed > SILENT]
        if silent:
            names = ", ".join(map(group.name_of, silent))
            return f"{self._stage}: no sign of life from {names} for {SILENT:.0f} s", fix
        counts = {rank: int(sign.partition(" ")[0]) for rank, (sign, _) in others.items()}
        behind = min(counts, key=lambda rank: counts[rank])
        waited = now - self._since
        if counts[behind] < self._done and waited > group.timeout / 2:
            name = group.name_of(behind)
            return f"{self._stage}: {name} is behind: the others have waited for it for {waited:.0f} s", fix
        return f"{self._stage}: another process has left, or the network between them is lost", fix

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
                    self._give_up("the process that keeps the store is gone, or the network to it is")
                continue
            if time.monotonic() - self._since > self._group.timeout + SLACK:
                counts = [int(sign.partition(" ")[0]) for sign, _ in self._seen.values()]
                if counts and self._done > min(counts):  # not the one that the others wait for
                    self._give_up("")

    def _look(self) -> None:
        now = time.monotonic()
        for rank in range(self._group.world_size):
            key = f"done/{self._stage}/{rank}"
            with suppress(Exception):
                if self._group.store.check([key]):
                    sign = self._group.store.get(key).decode()
                    if self._seen.get(rank, ("", 0.0))[0] != sign:
                        self._seen[rank] = sign, now

    def _give_up(self, what: str) -> None:
        if not self._ended.is_set():
            told, fix = self.missing()
            if self._group.main or not os.environ.get(LAUNCHED):
                print_error(what or told, fix)
            os._exit(LOST)
