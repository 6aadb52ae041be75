"""Steps that several threads take together.

There is no thread of its own: a consumer that has no event runs the next step for everyone, while the others wait for
theirs. Tokens (:mod:`muomni_cli.generation.batch`) and frames of speech are decoded this way.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

EventT = TypeVar("EventT")


class LockstepRow(Generic[EventT]):
    """What takes part in the steps of a :class:`Lockstep`; ``events``: of its consumer, in order."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()  # that asked for it
        self.events: deque[EventT] = deque()
        self.error: BaseException | None = None
        self.abandoned = False

    @property
    def over(self) -> bool:
        """Whether it takes part in no further step."""
        return self.abandoned or self.error is not None


RowT = TypeVar("RowT", bound=LockstepRow)  # type: ignore[type-arg]


class Lockstep(ABC, Generic[RowT, EventT]):
    """Runs steps for all rows that are there; a row may join and leave between any two of them. Thread-safe."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._stepping = False

    @abstractmethod
    def _members(self) -> Sequence[RowT]:
        """The rows that run or wait; called with ``_turn`` held."""

    @abstractmethod
    def _step(self) -> None:
        """One step of all rows that can take it. It must give an event, or an error, to a row whose consumer waits,
        after any number of steps."""

    @abstractmethod
    def _fail(self, error: BaseException) -> None:
        """A step failed, or was interrupted: the states of its rows are of no use any more."""

    @property
    def rows(self) -> int:
        """How many rows run or wait."""
        return sum(not one.over for one in self._members())

    def rows_of(self, thread: int) -> int:
        """How many rows of a thread run or wait."""
        with self._turn:
            rows = list(self._members())
        return sum(one.thread == thread and not one.over for one in rows)

    def next_event(self, own: RowT) -> EventT:
        """The next event of a row; runs steps until there is one. Raises the error of the row."""
        while True:
            if own.events:  # which only its consumer takes away
                event: EventT = own.events.popleft()
                return event
            with self._turn:
                while self._stepping and not own.events and own.error is None:
                    self._turn.wait()
                if own.events:
                    continue
                if own.error is not None:
                    raise own.error
                self._stepping = True
            try:
                self._step()
            except BaseException as error:
                self._fail(error)
                raise
            finally:
                with self._turn:
                    self._stepping = False
                    self._turn.notify_all()
