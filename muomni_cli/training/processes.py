"""Stages as processes: stop requests, and several stages of one run in parallel, as ``make -j``."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from muomni_cli.core.console import say
from muomni_cli.core.errors import ROOT, MuomniError, RequestError
from muomni_cli.core.stopping import AGAIN, NAMES, handled_otherwise

POLL = 0.1  # seconds between two polls of the processes
PATIENCE = 10.0  # seconds that a stage gets to save when this process ends because of an error
# A stage in a process of its own. The working directory is not where it looks for modules (-P), and it stops when the
# process that started it is gone.
PROGRAM = (
    f"import sys; sys.argv[0] = 'muomni'; sys.path.append({str(ROOT)!r})\n"
    "from muomni_cli.core.stopping import follow_stdin; follow_stdin()\n"
    "from muomni_cli.app import main; main()"
)


class StoppedError(MuomniError):
    """Training was asked to stop and has saved: exit code 128 + signal (130 for Ctrl-C, 143 for SIGTERM)."""

    def __init__(self, what: str, fix: str, number: int) -> None:
        super().__init__(what, fix)
        self.exit_code = 128 + number


class BrokenOffError(BaseException):
    """A stop request came during work that can be done again."""


class StopRequests:
    """Handles SIGINT, SIGTERM and SIGHUP while entered: stop after the current step; a second Ctrl-C stops at once.

    ``notify`` receives one line at the first request; ``asked`` is the signal of that request, or None.
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        self.asked: signal.Signals | None = None
        self._notify = notify
        self._since = 0.0
        self._breaks = False
        self._stack = ExitStack()

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._stack.enter_context(handled_otherwise())
            for number in NAMES:
                if (before := signal.getsignal(number)) is not signal.SIG_IGN or number == signal.SIGINT:
                    signal.signal(number, self._handle)
                    self._stack.callback(signal.signal, number, before)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def breaking_off(self) -> Iterator[None]:
        """Raises BrokenOffError when a request comes, or has come."""
        self._breaks = True
        try:
            if self.asked is not None:
                raise BrokenOffError
            yield
        finally:
            self._breaks = False

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.asked is None:
            self.asked, self._since = signal.Signals(number), time.monotonic()
            with suppress(OSError):  # the terminal may be gone
                self._notify(f"{NAMES[self.asked]}: finishing this step and saving (Ctrl-C again stops at once)")
            if self._breaks:
                raise BrokenOffError
        elif number == signal.SIGINT and time.monotonic() - self._since > AGAIN:
            raise KeyboardInterrupt


@dataclass(frozen=True, slots=True)
class Plan:
    """Stages to train in parallel."""

    stages: Sequence[str]
    waits: Mapping[str, Collection[str]]  # stages that must finish before each; those outside ``stages`` have
    threads: Mapping[str, int]  # of each stage; 0, or more than ``cpu_slots``: all of them
    cpu_slots: int  # threads of all running stages

    def next(self, waiting: Sequence[str], running: Collection[str]) -> str | None:
        takes = {s: min(self.threads[s] or self.cpu_slots, self.cpu_slots) for s in self.stages}
        free = self.cpu_slots - sum(takes[stage] for stage in running)
        unfinished = {*waiting, *running}
        return next((s for s in waiting if takes[s] <= free and unfinished.isdisjoint(self.waits[s])), None)


def train_parallel(plan: Plan, command: Callable[[str], list[str]], again: str, said: Collection[str] = ()) -> None:
    """Train all stages of ``plan``. After a failure the running stages finish, and no other starts.

    Args:
        command: the command line that trains a stage. It saves and exits on SIGTERM, and prints why it fails.
        again: the command with which the user continues after a stop or a failure.
        said: lines printed already, which are not repeated.

    Raises:
        StoppedError: after a signal, when all have saved.
        MuomniError: a stage failed (RequestError: because of the request).
    """
    waiting, running = list(plan.stages), dict[str, _Training]()
    failed: dict[str, int] = {}
    with StopRequests(say) as stop:
        try:
            while running or (waiting and not failed and stop.asked is None):
                while stop.asked is None and not failed and (stage := plan.next(waiting, running)) is not None:
                    waiting.remove(stage)
                    running[stage] = _Training(stage, command(stage), said)
                if stop.asked is not None:
                    for training in running.values():
                        training.ask_to_stop()
                time.sleep(POLL)
                for stage in [stage for stage, training in running.items() if training.ended]:
                    if code := running.pop(stage).wait():
                        failed[stage] = code
        finally:  # leave no process behind
            for training in running.values():
                training.ask_to_stop()
            for training in running.values():
                training.wait(PATIENCE)
    if stop.asked is not None and (failed or waiting):
        where = ", ".join(failed) if failed else f"training, before {waiting[0]},"
        raise StoppedError(f"{where} stopped by {NAMES[stop.asked]}", f"continue with: {again}", stop.asked)
    if failed:
        error = RequestError if 2 in failed.values() else MuomniError
        raise error(f"{', '.join(failed)} failed (see above)", f"fix the cause and continue: {again}")


class _Training:
    """The process of one stage; its stderr is passed on line by line, prefixed with the stage."""

    def __init__(self, stage: str, words: list[str], said: Collection[str]) -> None:
        self._stage, self._said, self._asked = stage, said, False
        pipe = subprocess.PIPE  # stdin: the process stops when this one no longer holds the other end
        self._process = subprocess.Popen(words, stdin=pipe, stderr=pipe, text=True, errors="replace")
        self._reader = threading.Thread(target=self._pass_on, daemon=True)
        self._reader.start()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self, seconds: float | None = None) -> int:
        """Wait for its end, which ``seconds`` later is forced; returns the exit code."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        assert self._process.stdin is not None, "stdin is a pipe"
        self._process.stdin.close()
        self._reader.join(1.0)  # another process may still hold the pipe
        return code

    def ask_to_stop(self) -> None:
        """Once: Ctrl-C in a terminal has reached the process already, and a second signal would keep it from saving."""
        if not self._asked:
            self._asked = True
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def _pass_on(self) -> None:
        assert self._process.stderr is not None, "stderr is a pipe"
        with self._process.stderr as lines:
            for line in lines:
                # A stage suggests the next one, which this process starts anyway, and says that it was stopped.
                if not line.startswith(("next: ", "stopped by ")) and line.rstrip() not in self._said:
                    say(line.rstrip() if line.startswith(self._stage) else f"{self._stage}: {line.rstrip()}")
