"""Continuous batching: requests of one model decoded together, each joining and leaving at any token.

The scheduling is that of Orca (Yu et al., OSDI 2022): the batch is formed anew for every step. A row's prompt is read
alone, then the row takes part in the steps of all others until it ends or its consumer abandons it. Each row has the
sampling, random numbers, stop strings, loop guard and form of its own request, so its tokens do not depend on the
others if the logits of the backend do not: the rows of a step hold numbers of tokens that are equal modulo
:attr:`muomni_cli.contract.engine.Engine.alignment`, so that a row may wait for a few steps before it joins.

Consumers run the steps themselves (:mod:`muomni_cli.core.lockstep`). Imports only numpy.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.models import Backend, Tokenizer
from muomni_cli.core.lockstep import Lockstep, LockstepRow
from muomni_cli.generation.loop import Event, Request, RequestRow, rows_of

MOST_ROWS = 16  # in one step; further requests wait until others end


class BatchedRow(LockstepRow[Event]):
    """A request in a :class:`ContinuousBatch`.

    Args:
        row: the request in progress.
        reader: reads its prompt, and holds its media.
        hidden: its events carry hidden states.
    """

    def __init__(self, row: RequestRow, reader: Backend[Any], *, hidden: bool) -> None:
        super().__init__()
        self.row, self.reader, self.hidden = row, reader, hidden

    @property
    def over(self) -> bool:
        return super().over or not self.row.running

    def advance(self, logits: NDArray[np.float32], hidden: NDArray[np.float32] | None) -> None:
        """Draw the next token; what fails ends this row alone."""
        try:
            self.events.extend(self.row.advance(logits, hidden if self.hidden else None))
        except Exception as error:
            self.error = error


def batch_for(batches: Sequence[ContinuousBatch]) -> ContinuousBatch:
    """The one that holds requests of this thread already, which may take turns with the new one; else the one with the
    fewest."""
    thread = threading.get_ident()
    return min(batches, key=lambda one: (-one.rows_of(thread), one.rows))


class ContinuousBatch(Lockstep[BatchedRow, Event]):
    """Decodes requests together. Thread-safe.

    Args:
        backend: runs the steps; with hidden states if any request wants them.
        tokenizer: of the Thinker.
        most: rows in one step.
        alignment: the numbers of tokens of the rows of a step are equal modulo this.
    """

    def __init__(self, backend: Backend[Any], tokenizer: Tokenizer, most: int = MOST_ROWS, alignment: int = 1) -> None:
        super().__init__()
        self._backend, self._tokenizer, self._most, self._alignment = backend, tokenizer, most, alignment
        self._waiting: deque[BatchedRow] = deque()
        self._read: list[tuple[BatchedRow, Any]] = []  # rows that wait for their turn to join, and their states
        self._running: list[BatchedRow] = []
        self._state: Any = None  # of the running rows

    def _members(self) -> list[BatchedRow]:
        return [*self._running, *(one for one, _ in self._read), *self._waiting]

    def generate(self, request: Request, reader: Backend[Any], *, hidden: bool = False) -> Iterator[Event]:
        """Continue a request until it finishes, as :func:`muomni_cli.generation.loop.generate` does. Abandoning the
        iteration frees the row before the next step.

        Args:
            request: of any settings.
            reader: a backend of the same model that reads the prompt; negative ids are its media. Its
                hidden states are kept if ``hidden``.
            hidden: the events carry the states that predicted their tokens.

        Raises:
            RequestError: at once, as of ``generate``.
        """
        (row,) = rows_of([request], self._tokenizer, self._backend.context)
        return self._events(BatchedRow(row, reader, hidden=hidden))

    def _events(self, own: BatchedRow) -> Iterator[Event]:
        with self._turn:
            self._waiting.append(own)
        try:
            finished = False
            while not finished:
                event = self.next_event(own)
                finished = event.finish is not None
                yield event
        finally:
            with self._turn:
                own.abandoned = True
                if not self._stepping and not self.rows:  # no further step would free the last row
                    self._waiting.clear()
                    self._read, self._running, self._state = [], [], None

    def _fail(self, error: BaseException) -> None:
        for one in self._running:
            one.error = one.error or error
        self._running, self._state = [], None

    def _step(self) -> None:
        """One token for every row, the first one for those that wait."""
        self._drop()
        if self._running:
            tokens = np.array([one.row.ids[-1] for one in self._running], np.int64)
            logits = self._backend.step(self._state, tokens)
            wanted = any(one.hidden for one in self._running)
            hidden = self._backend.hidden(self._state) if wanted else [None] * len(tokens)
            for one, own, state in zip(self._running, logits, hidden, strict=True):
                one.advance(own, state)
            self._drop()
        self._join()

    def _drop(self) -> None:
        """Free the rows that are over."""
        self._read = [(one, state) for one, state in self._read if not one.over]
        left = [number for number, one in enumerate(self._running) if not one.over]
        if len(left) < len(self._running):
            self._state = self._backend.select(self._state, left) if left else None
            self._running = [self._running[number] for number in left]

    def _join(self) -> None:
        """Add the rows that were read, and are in phase, to those that run."""
        if not self._waiting and not self._read:
            return
        self._read_prompts()
        in_phase: list[tuple[BatchedRow, Any]] = []
        later: list[tuple[BatchedRow, Any]] = []
        for own in self._read:
            first = (self._running or [one for one, _ in in_phase] or [own[0]])[0]
            (in_phase if self._phase(own[0]) == self._phase(first) else later).append(own)
        if in_phase:
            running = [self._state] if self._running else []
            self._state = self._backend.merge([*running, *(state for _, state in in_phase)])
            self._running += [one for one, _ in in_phase]
            self._read = later

    def _phase(self, one: BatchedRow) -> int:
        """Equal in rows that may run together. Each step changes that of the running rows by one."""
        return len(one.row.ids) % self._alignment

    def _read_prompts(self) -> None:
        """Read the prompts of rows that wait, as far as there is room, and draw their first tokens."""
        while len(self._running) + len(self._read) < self._most and (own := self._waits()) is not None:
            ids, most = own.row.request.ids, own.row.request.max_tokens
            try:
                state, logits = own.reader.begin([ids], min(len(ids) + most, own.reader.context))
                own.advance(logits[0], own.reader.hidden(state)[0] if own.hidden else None)
            except Exception as error:
                own.error = error
            if not own.over:
                self._read.append((own, state))

    def _waits(self) -> BatchedRow | None:
        """The next row that waits and was not abandoned."""
        with self._turn:
            while self._waiting:
                if not (own := self._waiting.popleft()).over:
                    return own
        return None
