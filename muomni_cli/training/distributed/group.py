"""The processes that train together: how one finds out that it has others, waits for them, and reports for all.

torchrun, or ``muomni train --devices`` in its place, starts the processes and tells each its rank by environment
variables. Everything here goes through the store that they share (a key-value server of torch.distributed), not through
the devices.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from muomni_cli.core.console import mute, print_error
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.nn.device import choose_device
from muomni_cli.training.processes import StoppedError

LAUNCHED = "MUOMNI_DEVICES"  # number of processes that ``--devices`` has started, in the environment of each
REPORTS = "MUOMNI_REPORTS"  # folder for what the process that started them is to know
STOPPED = "stopped"  # in it: the exit code of a stop, which is no failure that calls for a restart
BEHIND = "behind"  # in it: which process the others have lost
LOST = 75  # exit code of a process whose peer is gone: not the cause, and nothing to say (EX_TEMPFAIL)
TURNS = 3  # the first process, then the first of every other machine, then all others
SOON = 3.0  # seconds within which the first process meets the error that all meet
ENDING = 5.0  # most seconds for leaving the group
NAP = 0.2  # longest sleep between two looks at the store


class LostPeerError(MuomniError):
    """Another process is gone or does not answer. ``named``: it is known which."""

    def __init__(self, what: str, fix: str, *, named: bool) -> None:
        super().__init__(what, fix)
        self.named = named


def joined() -> bool:
    """Whether this process was started as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ and "MASTER_ADDR" in os.environ


class Group:
    """The processes of this training: here one."""

    rank = local_rank = 0
    world_size = local_world_size = 1

    @property
    def main(self) -> bool:
        return self.rank == 0

    def device(self, wanted: str) -> torch.device:
        """The device of this process for the recipe's ``device``. RequestError if there is none for it."""
        return choose_device(wanted)

    def threads(self, wanted: int) -> int:
        """CPU threads for the recipe's ``threads``; 0 keeps PyTorch's setting."""
        return wanted

    def wait(self) -> None:
        """Until all processes are here, however long their work before takes."""

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Work that fills the cache: the first process, then the first of each other machine, then the others."""
        yield


class ProcessGroup(Group):
    """Several processes, on one machine or more. ``timeout``: seconds that one waits for another within a step."""

    def __init__(self, timeout: float) -> None:
        environment = os.environ
        self.rank, self.world_size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        self.local_rank = int(environment.get("LOCAL_RANK", self.rank))
        self.local_world_size = int(environment.get("LOCAL_WORLD_SIZE", self.world_size))
        self.timeout = timeout
        self._waits = 0
        within = timedelta(seconds=timeout)
        shared, _, _ = next(rendezvous("env://", self.rank, self.world_size, timeout=within))
        # After a restart the store still holds what the processes before have left in it.
        self.store = PrefixStore(f"muomni-{environment.get('TORCHELASTIC_RESTART_COUNT', 0)}", shared)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=self.store, rank=self.rank, world_size=self.world_size, timeout=within)
        self.store.set(f"host/{self.rank}", f"{socket.gethostname()}, pid {os.getpid()}")

    def subgroup(self) -> dist.ProcessGroup:
        """A group of the same processes for numbers on the hosts. All processes call it."""
        made: dist.ProcessGroup = dist.new_group(backend="gloo", timeout=timedelta(seconds=self.timeout))
        return made

    def device(self, wanted: str) -> torch.device:
        if wanted.startswith("cuda:"):
            raise RequestError(
                f"device {wanted!r} names one device, and {self.world_size} processes need one each",
                "write device = cuda (or auto, cpu); CUDA_VISIBLE_DEVICES chooses among them",
            )
        device = choose_device(wanted)
        if device.type == "cpu":
            return device
        if device.type != "cuda":
            raise RequestError(f"several processes cannot train on {device.type}", "write device = cuda or cpu")
        if self.local_rank >= torch.cuda.device_count():
            raise RequestError(
                f"{self.local_world_size} processes on a machine with {torch.cuda.device_count()} CUDA devices",
                "start one process a device, or write device = cpu",
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def threads(self, wanted: int) -> int:
        return wanted or max(1, len(os.sched_getaffinity(0)) // self.local_world_size)

    def wait(self) -> None:
        self._waits += 1
        key, nap = f"wait/{self._waits}", 0.005
        self.store.add(key, 1)
        while self.store.add(key, 0) < self.world_size:
            time.sleep(nap)
            nap = min(NAP, 1.5 * nap)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        turn = 0 if self.main else 1 if self.local_rank == 0 else 2
        for _ in range(turn):
            self.wait()
        yield
        for _ in range(turn, TURNS):
            self.wait()

    def name_of(self, rank: int) -> str:
        """``process 3 (host, pid 71)``."""
        with suppress(Exception):  # the store may be gone as well
            return f"process {rank} ({self.store.get(f'host/{rank}').decode()})"
        return f"process {rank}"

    def tell_failure(self) -> None:
        """Of the main process: it reports an error that the others meet, too."""
        with suppress(Exception):
            self.store.set("failed", "1")

    def main_failed(self) -> bool:
        """Whether the main process reports an error, now or soon."""
        end = time.monotonic() + SOON
        with suppress(Exception):
            while time.monotonic() < end:
                if self.store.check(["failed"]):
                    return True
                time.sleep(0.02)
        return False


@contextmanager
def join_group(timeout: float) -> Iterator[Group]:
    """The processes of this training. An error that all of them meet is reported by the first one alone."""
    if not joined():
        yield Group()
        return
    if int(os.environ["RANK"]) > 0:
        mute()
    group = ProcessGroup(timeout)
    try:
        yield group
    except LostPeerError as error:
        leave_lost(error, group)
        raise
    except StoppedError as error:  # all have agreed
        if group.main and (folder := os.environ.get(REPORTS)):
            print_error(error.what, error.fix)
            (Path(folder) / STOPPED).write_text(str(error.exit_code), encoding="utf-8")
        if REPORTS in os.environ or not group.main:
            _leave(0)
        raise
    except MuomniError as error:
        if group.main:
            group.tell_failure()
        elif group.main_failed():
            _leave(error.exit_code)
        raise
    finally:
        _end_group()


def leave_lost(error: LostPeerError, group: ProcessGroup) -> None:
    """End a process that has lost another one, without a word if the process that started them will speak."""
    if folder := os.environ.get(REPORTS):
        if error.named:
            (Path(folder) / BEHIND).write_text(error.what, encoding="utf-8")
        _leave(LOST)
    if not group.main:
        _leave(LOST)


def _end_group() -> None:
    """Leave the group, unless a peer that is gone keeps this one from it."""

    def end() -> None:
        with suppress(Exception):
            dist.destroy_process_group()

    ending = threading.Thread(target=end, name="muomni-leaving", daemon=True)
    ending.start()
    ending.join(ENDING)


def _leave(code: int) -> None:
    """End this process without a word: another one has it."""
    os._exit(code)
