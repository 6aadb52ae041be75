"""The thread that runs a model, with its queue; what it makes is streamed into asyncio.

This is the only place that knows how requests share a model. Routes hand a :data:`Work` to :meth:`ModelWorker.submit`
and read its events from the :class:`EventStream` that they get back.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from muomni_cli import Model
from muomni_serve.errors import ApiError, from_failure

LOG = logging.getLogger("muomni.serve")
Item = TypeVar("Item")

PATIENCE = 5.0  # seconds for the end of a thread, which may be inside a long call


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
    _events: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
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
            self.loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError as error:  # the loop is closed
            raise Abandoned from error

    def cancel(self, error: ApiError | None = None) -> None:
        """End the work at its next event; the reader gets ``error``, or the end."""
        if not self.abandoned.is_set():
            self.abandoned.set()
            self._events.put_nowait(_End(error))
        self.forget(self)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        """The next event. ApiError if the work failed, was cancelled with one, or took too long."""
        try:
            event = await asyncio.wait_for(self._events.get(), max(0.0, self._until - time.monotonic()))
        except TimeoutError:
            event = _End(ApiError(408, f"no complete answer within {self.seconds:g} seconds", code="timeout"))
            self.abandoned.set()
        if not isinstance(event, _End):
            return event
        self.forget(self)
        if event.error is not None:
            raise event.error
        raise StopAsyncIteration


Work = Callable[[Model, EventStream], None]
"""What a request has a model do, in the model's thread: it puts what it makes into the stream."""


class ModelWorker:
    """One model: loaded for its first request, unloaded when it was unused for ``keep`` seconds.

    Args:
        load: opens the model.
        keep: seconds.
        most: requests that may wait.
        seconds: until an answer must be complete.
    """

    def __init__(self, load: Callable[[], Model], keep: float, most: int, seconds: float) -> None:
        self._load, self._keep, self._most, self._seconds = load, keep, most, seconds
        self._queue: queue.Queue[tuple[EventStream, Work] | None] = queue.Queue()
        self._waiting: set[EventStream] = set()
        self._running: EventStream | None = None
        self._model: Model | None = None
        self._thread = threading.Thread(target=self._run, name="muomni-model", daemon=True)
        self._thread.start()

    @property
    def loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._model is not None

    @property
    def waiting(self) -> int:
        """Requests that wait or run; one that was abandoned runs until its next event."""
        return len(self._waiting) + (self._running is not None and self._running not in self._waiting)

    def submit(self, work: Work) -> EventStream:
        """Queue ``work``; called in an event loop. ApiError (429) if too many wait already."""
        if len(self._waiting) > self._most:
            raise ApiError(
                429,
                f"{self._most} requests wait for this model already: try again later",
                code="queue_full",
                headers={"Retry-After": "1"},
            )
        stream = EventStream(asyncio.get_running_loop(), self._seconds, self._waiting.discard)
        self._waiting.add(stream)
        self._queue.put((stream, work))
        return stream

    def cancel_all(self, error: ApiError) -> None:
        """End everything that waits or runs; called in the event loop."""
        for stream in list(self._waiting):
            stream.cancel(error)

    def close(self) -> None:
        """End the thread at the next event of the work that is running; waits a few seconds for it."""
        for stream in list(self._waiting):
            stream.abandoned.set()
        self._queue.put(None)
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=self._keep if self.loaded and self._keep < 1e9 else None)
            except queue.Empty:
                self._unload()
                continue
            if item is None:
                self._unload()
                return
            self._running = item[0]
            self._serve(*item)
            self._running = None

    def _serve(self, stream: EventStream, work: Work) -> None:
        try:
            if not stream.abandoned.is_set():
                if self._model is None:
                    self._model = self._load()
                work(self._model, stream)
                stream.end()
        except Abandoned:
            pass
        except Exception as error:
            if (failure := from_failure(error)).status >= 500:
                LOG.exception("a request failed")
            with suppress(Abandoned):
                stream.end(failure)

    def _unload(self) -> None:
        if self._model is not None:
            self._model.close()
            self._model = None
