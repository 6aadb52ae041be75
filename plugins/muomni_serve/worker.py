"""The threads that run a model, with their queues; what they make is streamed into asyncio.

Requests whose answers are text take turns in threads of their own, so that their tokens meet in the model's batch
(:mod:`muomni_cli.generation.batch`), and those whose answers are spoken in others, so that the frames of their Talker
meet; all others have threads that run one at a time. This is the only place that knows how requests share a model.
Routes hand a :data:`Work` to :meth:`ModelWorker.submit` and read its events from the :class:`EventStream` that they get
back.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from muomni_cli import Model
from muomni_serve.errors import ApiError, from_failure

LOG = logging.getLogger("muomni.serve")
Item = TypeVar("Item")

PATIENCE = 5.0  # seconds for the end of all threads, which may be inside a long call
FOREVER = 1e9  # seconds, and more: threads cannot wait for longer


class Abandoned(Exception):  # noqa: N818 - nothing went wrong
    """The client has hung up, the time is over, or the server stops."""


@dataclass(frozen=True, slots=True)
class _End:
    error: ApiError | None = None


@dataclass(slots=True, eq=False)
class EventStream:
    """The events of one request, as they are made; belongs to the loop that made it.

    Args:
        loop: of the reader.
        seconds: until the last event must have come.
        forget: called once, when nothing more will be read.
    """

    loop: asyncio.AbstractEventLoop
    seconds: float
    forget: Callable[[EventStream], None]
    abandoned: threading.Event = field(default_factory=threading.Event)
    _events: deque[Any] = field(default_factory=deque)
    _came: asyncio.Event = field(default_factory=asyncio.Event)
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self._until = time.monotonic() + self.seconds

    def put(self, event: Any) -> None:
        """Called in the model's thread. Raises Abandoned if the client is gone."""
        self.check()
        self._put(event)

    def check(self) -> None:
        """Called in the model's thread. Raises Abandoned if the client is gone."""
        if self.abandoned.is_set():
            raise Abandoned

    def watched(self, items: Iterable[Item]) -> Iterator[Item]:
        """``items``, which end with :class:`Abandoned` as soon as the client is gone."""
        for item in items:
            self.check()
            yield item

    def end(self, error: ApiError | None = None) -> None:
        """Called in the model's thread: no more events."""
        if not self.abandoned.is_set():
            self._put(_End(error))

    def _put(self, event: Any) -> None:
        try:
            self.loop.call_soon_threadsafe(self._add, event)
        except RuntimeError as error:  # the loop is closed
            raise Abandoned from error

    def _add(self, event: Any) -> None:
        self._events.append(event)
        self._came.set()

    def cancel(self, error: ApiError | None = None) -> None:
        """End the work at its next event; the reader gets ``error``, or the end."""
        if not self.abandoned.is_set():
            self.abandoned.set()
            self._add(_End(error))
        self.forget(self)

    def ready(self) -> Iterator[Any]:
        """The events that can be had without waiting, but for the end."""
        while self._events and not isinstance(self._events[0], _End):
            yield self._events.popleft()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        """The next event. ApiError if the work failed, was cancelled with one, or took too long."""
        left = self._until - time.monotonic()
        try:
            if left <= 0 or not self._events:  # a timer costs more than an event, and most are there already
                self._came.clear()
                await asyncio.wait_for(self._came.wait(), max(0.0, left))
            event = self._events.popleft()
        except TimeoutError:
            event = _End(ApiError(408, f"no complete answer within {self.seconds:g} seconds", code="timeout"))
            self.abandoned.set()
        if not isinstance(event, _End):
            return event
        self.forget(self)
        if event.error is not None:
            raise event.error
        raise StopAsyncIteration


Kind = Literal["tokens", "frames"]
"""What is decoded together: the tokens of answers that are text, and the frames of those that are spoken."""

Work = Callable[[Model, EventStream], Iterator[None] | None]
"""What a request has a model do, in a thread of the model: it puts what it makes into the stream. A generator yields
where other works may run."""


@dataclass(slots=True)
class RunningWork:
    """A work that has begun; ``turns``: the rest of it."""

    stream: EventStream
    turns: Generator[None]


class Lane:
    """A queue of works, and the threads that take them from it, which are started when they are needed.

    Args:
        rows: works that take turns, in all threads.
        threads: their number.
        run: takes works from the queue until the worker is closed.
    """

    def __init__(self, rows: int, threads: int, run: Callable[[Lane], None]) -> None:
        self.rows = rows
        self.queue: queue.Queue[tuple[EventStream, Work] | None] = queue.Queue()
        self.streams: set[EventStream] = set()  # those whose end was not read
        self._threads = [
            threading.Thread(target=run, args=(self,), name=f"muomni-model-{number}", daemon=True)
            for number in range(threads)
        ]
        self._started = False
        self._idle = 0  # threads that wait for a work
        self._counting = threading.Lock()

    def put(self, stream: EventStream, work: Work) -> None:
        self.streams.add(stream)
        self.queue.put((stream, work))
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()

    def take(self, active: int, seconds: float | None) -> tuple[EventStream, Work] | None:
        """The next work, for a thread with ``active`` ones; waits for ``seconds`` if it has none. None at the end.
        queue.Empty if there is none, or none for this thread: one without works takes it."""
        if active:
            if active * len(self._threads) >= self.rows or self._idle:
                raise queue.Empty
            return self.queue.get_nowait()
        self._count(1)
        try:
            return self.queue.get(timeout=seconds)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._counting:
            self._idle += change

    def close(self, until: float) -> None:
        """End the threads at the next events of the works that run; waits for them, but not longer than ``until``."""
        for stream in list(self.streams):
            stream.abandoned.set()
        if self._started:
            for _ in self._threads:
                self.queue.put(None)
            for thread in self._threads:
                thread.join(max(0.0, until - time.monotonic()))


class ModelWorker:
    """One model: loaded for its first request, unloaded when it was unused for ``keep`` seconds.

    Args:
        load: opens the model.
        keep: seconds.
        most: requests that may wait.
        seconds: until an answer must be complete.
        together: what is decoded together.
        rows: requests of each kind that are.
        threads: for each kind. As many do all else, or one if the Thinker's tokens are not decoded together.
    """

    def __init__(
        self,
        load: Callable[[], Model],
        keep: float,
        most: int,
        seconds: float,
        together: Collection[Kind] = (),
        rows: int = 1,
        threads: int = 1,
    ) -> None:
        self._load, self._keep, self._most, self._seconds = load, keep, most, seconds
        self.together = frozenset(together)
        others = threads if "tokens" in self.together else 1
        self._alone = Lane(others, others, self._run)
        self._shared = {kind: Lane(rows, threads, self._run) for kind in self.together}
        self._running: set[EventStream] = set()
        self._model: Model | None = None
        self._opening = threading.Lock()  # of the model, of what runs, and of when it last did
        self._used = time.monotonic()

    @property
    def loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._model is not None

    @property
    def waiting(self) -> int:
        """Requests that wait or run; one that was abandoned runs until its next event."""
        return len(self._running.union(*(lane.streams for lane in self._lanes)))

    @property
    def _lanes(self) -> list[Lane]:
        return [self._alone, *self._shared.values()]

    def submit(self, work: Work, kind: Kind | None = None) -> EventStream:
        """Queue ``work``; called in an event loop. ``kind``: what it decodes, together with others if the worker does
        that. ApiError (429) if too many wait already."""
        lane = self._alone if kind is None else self._shared.get(kind, self._alone)
        if len(lane.streams) >= self._most + lane.rows:
            raise ApiError(
                429,
                f"{self._most} requests wait for this model already: try again later",
                code="queue_full",
                headers={"Retry-After": "1"},
            )
        stream = EventStream(asyncio.get_running_loop(), self._seconds, lane.streams.discard)
        lane.put(stream, work)
        return stream

    def cancel_all(self, error: ApiError) -> None:
        """End everything that waits or runs; called in the event loop."""
        for stream in [stream for lane in self._lanes for stream in lane.streams]:
            stream.cancel(error)

    def close(self) -> None:
        """End the threads at the next events of the works that are running; waits a few seconds for them."""
        until = time.monotonic() + PATIENCE
        for lane in self._lanes:
            lane.close(until)
        self._unload()

    def _run(self, lane: Lane) -> None:
        active: list[RunningWork] = []
        while self._take(lane, active):
            for one in list(active):
                if not self._take_turn(one):
                    active.remove(one)
                    self._leave(one.stream)
        for one in active:  # the worker is closed
            one.turns.close()
            self._leave(one.stream)

    def _take(self, lane: Lane, active: list[RunningWork]) -> bool:
        """Begin works that wait, as far as there is room; wait for one if none is active. False at the end."""
        while True:
            try:
                item = lane.take(len(active), None if active else self._idle())
            except queue.Empty:
                if not active:
                    self._unload(unused=self._keep)
                return True
            if item is None:
                return False
            stream, work = item
            with self._opening:
                self._running.add(stream)
            active.append(RunningWork(stream, self._turns(stream, work)))

    def _leave(self, stream: EventStream) -> None:
        with self._opening:
            self._running.discard(stream)
            self._used = time.monotonic()

    def _idle(self) -> float | None:
        """Seconds that a thread waits for work before the model may be unloaded."""
        if not self.loaded or self._keep >= FOREVER:
            return None
        if self._running:
            return self._keep
        return max(0.01, self._used + self._keep - time.monotonic())

    def _turns(self, stream: EventStream, work: Work) -> Generator[None]:
        """``work``, which opens the model if it must."""
        yield from work(self._opened(), stream) or ()

    def _take_turn(self, one: RunningWork) -> bool:
        """Whether there is more to do."""
        try:
            one.stream.check()
            next(one.turns)
            return True
        except StopIteration:
            with suppress(Abandoned):
                one.stream.end()
        except Abandoned:
            one.turns.close()
        except Exception as error:
            if (failure := from_failure(error)).status >= 500:
                LOG.exception("a request failed")
            with suppress(Abandoned):
                one.stream.end(failure)
        return False

    def _opened(self) -> Model:
        with self._opening:
            if self._model is None:
                self._model = self._load()
            return self._model

    def _unload(self, unused: float = 0.0) -> None:
        """Close the model if nothing runs and it was not used for ``unused`` seconds."""
        with self._opening:
            if self._model is not None and not self._running and time.monotonic() >= self._used + unused:
                self._model.close()
                self._model = None
