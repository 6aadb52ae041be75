"""``--devices N``: torchrun's elastic agent in this process, which starts N others and watches over them."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]
import torch

from muomni_cli.core.errors import ROOT, MuomniError, RequestError
from muomni_cli.core.stopping import NAMES, handled_otherwise
from muomni_cli.training.distributed.group import BEHIND, LAUNCHED, LOST, REPORTS, STOPPED, joined

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

# A process does not look for modules in the working directory (-P), and stops when the one that started it is gone.
PROGRAM = (
    f"import sys; sys.argv[0] = 'muomni'; sys.path.append({str(ROOT)!r})\n"
    "from muomni_cli.core.stopping import follow_parent; follow_parent()\n"
    "from muomni_cli.app import main; main()"
)


def launch(words: Sequence[str], devices: int, *, cuda: bool, max_restarts: int, again: str) -> None:
    """Run ``muomni WORDS`` in ``devices`` processes that train together, and wait for them.

    Args:
        words: the command; each process finds in its environment which one it is.
        devices: number of processes.
        cuda: whether each is to have a CUDA device, if there are any.
        max_restarts: how often all are started again when one has failed.
        again: the command that continues, for errors.

    Raises:
        SystemExit: a signal stopped them, when all is saved; or they failed and have said why.
        MuomniError: a process was killed.
        RequestError: this is one of several processes already, or there are not as many devices.
    """
    if joined():
        raise RequestError("--devices starts processes, and torchrun has done that", "leave --devices out")
    if cuda and 0 < (there := torch.cuda.device_count()) < devices:
        raise RequestError(
            f"--devices {devices} was asked for, and PyTorch sees {there} CUDA devices",
            f"write --devices {there}, or train on the CPU with device=cpu",
        )
    with tempfile.TemporaryDirectory() as logs, _passed_on() as caught:
        with _environment({LAUNCHED: str(devices), REPORTS: logs}):
            failures = _run(words, devices, max_restarts, logs)
        stopped, behind = Path(logs) / STOPPED, Path(logs) / BEHIND
        if caught:
            raise SystemExit(128 + caught[0])
        if stopped.exists():
            raise SystemExit(int(stopped.read_text("utf-8")))
        if failures and behind.exists():
            raise MuomniError(behind.read_text("utf-8"), f"continue with: {again}")
        if failures:
            _report(failures, devices, again)


def _run(words: Sequence[str], devices: int, max_restarts: int, logs: str) -> dict[int, ProcessFailure]:
    """What became of the processes that failed, by rank."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # what they say is said here, in one line
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id=f"muomni-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=max_restarts,
        monitor_interval=0.1,
        local_addr="localhost",
        logs_specs=DefaultLogsSpecs(log_dir=logs),
        signals_to_handle="SIGQUIT",  # the others are handled here: a process has as long as it needs to save
    )
    try:
        elastic_launch(config, sys.executable)("-P", "-c", PROGRAM, *words)
    except ChildFailedError as error:
        return dict(error.failures)
    return {}


def _report(failures: dict[int, ProcessFailure], devices: int, again: str) -> None:
    """Say what the first process that failed did not say itself."""
    causes = [one for one in failures.values() if one.exitcode != LOST] or list(failures.values())
    cause = min(causes, key=lambda failure: failure.timestamp)
    rank = next(rank for rank, failure in failures.items() if failure is cause)
    if cause.exitcode < 0:
        name = signal.Signals(-cause.exitcode).name
        reason = " (out of memory, perhaps)" if name == "SIGKILL" else ""
        raise MuomniError(f"process {rank} of {devices} was killed by {name}{reason}", f"continue with: {again}")
    if cause.exitcode == LOST:
        raise MuomniError(f"process {rank} of {devices} lost the others", f"continue with: {again}")
    raise SystemExit(cause.exitcode)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """What the processes find in their environment."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


@contextmanager
def _passed_on() -> Iterator[list[int]]:
    """Signals go to the processes, which save and end; those that came."""
    caught: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        caught.append(number)
        for child in psutil.Process().children():
            with suppress(psutil.Error):
                child.send_signal(signal.SIGTERM)  # a terminal has sent Ctrl-C to all of them already

    with handled_otherwise():
        before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            ours = [n for n in NAMES if n == signal.SIGINT or signal.getsignal(n) is not signal.SIG_IGN]
            before = {number: signal.signal(number, handle) for number in ours}
        try:
            yield caught
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
