"""Ctrl-C and SIGTERM: ask the loop to stop after the step; a second Ctrl-C stops at once. Knows nothing of the loop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

from muomni_cli.core.errors import MuomniError

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class StoppedError(MuomniError):
    """Training was asked to stop and has saved: exit code 128 + signal (130 for Ctrl-C, 143 for SIGTERM)."""

    def __init__(self, what: str, fix: str, number: int) -> None:
        super().__init__(what, fix)
        self.exit_code = 128 + number


class StopRequests:
    """Listens for signals while it is entered.

    Args:
        notify: called with one line at the first request.

    Attributes:
        asked: the signal that asked to stop, or None.
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        self.asked: signal.Signals | None = None
        self._notify = notify
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._before = {number: signal.signal(number, self._handle) for number in NAMES}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.asked is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.asked is None:
            self.asked = signal.Signals(number)
            self._notify(f"{NAMES[self.asked]}: finishing this step and saving (Ctrl-C again stops at once)")
