"""Signals that ask a command to stop: it unwinds at once, and whatever keeps it from ending is cut off.

SIGINT raises :class:`KeyboardInterrupt` and the others :class:`Terminated`, once, so that no second signal breaks into
the cleanup. Python runs a handler only between two of its own instructions, and a library may swallow an exception; so
a thread, which the system itself wakes, ends the process after a few seconds. The module is loaded before all others
and imports little.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
if hasattr(signal, "SIGHUP"):  # not on Windows
    NAMES[signal.SIGHUP] = "SIGHUP"
GRACE = 1.5  # seconds for unwinding
AGAIN = 0.5  # seconds after which a signal is a second request; `timeout` sends each twice, a terminal to all processes
unfinished: set[str] = set()  # folders to remove if the process is cut off


class Terminated(SystemExit):
    """SIGTERM or SIGHUP: exit code 128 + signal."""


class _State:
    """Of this process, which has one set of signal handlers."""

    asked: signal.Signals | None = None
    since = 0.0  # when it was
    bounded = False  # whether the grace period applies
    code: int | None = None  # of a command that has ended


def asked() -> signal.Signals | None:
    """The signal that stopped the command, if any."""
    return _State.asked


def line() -> str:
    """What to print about it."""
    return f"stopped by {NAMES[_State.asked]}" if _State.asked else ""


def install() -> None:
    """Handle the signals for the rest of the process, which runs one command. SIGHUP stays ignored under ``nohup``."""
    for number in NAMES:
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)
    _State.bounded = True
    sys.unraisablehook = _unless_stopped(sys.unraisablehook)
    threading.excepthook = _unless_stopped(threading.excepthook)
    atexit.register(_ignore)
    if os.name == "posix":
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        threading.Thread(target=_watch, args=(reader,), name="muomni-signals", daemon=True).start()


def finish(code: int) -> None:
    """After :func:`install`: the command has ended, and a signal that comes now ends the process with ``code``. That of
    a stop ends it here, because an interpreter that has loaded large libraries takes long to end."""
    if not _State.bounded:
        return
    _State.code = code
    _end_workers()
    if code > 128:
        with suppress(Exception):
            sys.stdout.flush()
        atexit._run_exitfuncs()
        os._exit(code)


@contextmanager
def handled_otherwise() -> Iterator[None]:
    """Leave the time to stop to the code within, which has its own handler of SIGINT or of all signals."""
    before, _State.bounded = _State.bounded, False
    try:
        yield
    finally:
        _State.bounded = before


@contextmanager
def interruptible() -> Iterator[None]:
    """Every SIGINT raises KeyboardInterrupt, for a session that goes on after it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with handled_otherwise():
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def held_back() -> Iterator[None]:
    """Block the signals in this thread; processes and threads that start within never get them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, NAMES)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def follow_stdin() -> None:
    """Stop as by SIGTERM when stdin ends: the process that holds its other end is gone, killed or not."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="muomni-parent", daemon=True).start()


def follow_parent() -> None:
    """Stop as by SIGTERM when the process that started this one is gone, for one that does not hold its stdin."""
    parent = os.getppid()

    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="muomni-parent", daemon=True).start()


def _handle(number: int, _: FrameType | None) -> None:
    if _State.code is not None:
        os._exit(_State.code)
    if _State.asked is None:
        _State.asked, _State.since = signal.Signals(number), time.monotonic()
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated(128 + number)
    if number == _State.asked and time.monotonic() - _State.since > AGAIN:
        _cut_off(number)


def _watch(reader: int) -> None:
    while caught := os.read(reader, 1):
        if caught[0] in set(NAMES):
            time.sleep(GRACE)
            if _State.bounded:
                _cut_off(caught[0])


def _cut_off(number: int) -> None:
    """End at once, without unwinding, but leave no process and no folder behind."""
    import shutil

    _end_workers()
    for folder in list(unfinished):
        shutil.rmtree(folder, ignore_errors=True)
    if _State.code is None:
        with suppress(OSError):
            os.write(2, f"stopped by {NAMES[signal.Signals(number)]}\n".encode())
    os._exit(128 + number if _State.code is None else _State.code)


def _end_workers() -> None:
    if processes := sys.modules.get("multiprocessing.process"):
        for worker in processes.active_children():
            worker.kill()


def _unless_stopped(hook: Any) -> Any:
    """A hook that reports uncaught errors, except those that a stop causes."""
    return lambda error: None if _State.asked else hook(error)


def _ignore() -> None:
    """All that is left is the end of the interpreter, which would not handle them."""
    for number in NAMES:
        signal.signal(number, signal.SIG_IGN)
