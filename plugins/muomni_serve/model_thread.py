"""Work that waits for its client: in a thread of its own, so that the model's worker serves others meanwhile.

The methods of a model are safe to call from several threads, and none changes what another one gives.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from threading import Thread

from muomni_cli import Model
from muomni_serve.errors import ApiError, from_failure
from muomni_serve.worker import Abandoned, EventStream, ModelWorker, Work

LOG = logging.getLogger("muomni.serve")
SECONDS = 3600.0  # until the work must have ended


async def opened(worker: ModelWorker) -> Model:
    """The model of a worker, open until the worker was unused for the time that it keeps models. ApiError if it cannot
    be had."""
    stream = worker.submit(lambda model, events: events.put(model))
    try:
        model = await anext(stream, None)
    finally:
        stream.cancel()
    if not isinstance(model, Model):
        raise ApiError(503, "the server stops", code="server_stopping")
    return model


async def beside(worker: ModelWorker, work: Work) -> EventStream:
    """Run ``work`` in a thread of its own, and read its events. ApiError if the model cannot be had."""
    model = await opened(worker)
    stream = EventStream(asyncio.get_running_loop(), SECONDS, lambda _: None)

    def run() -> None:
        failure: ApiError | None = None
        try:
            for _ in work(model, stream) or ():
                pass
        except Abandoned:
            return
        except Exception as error:
            failure = from_failure(error)
            if failure.status >= 500:
                LOG.exception("a request failed")
        with suppress(Abandoned):
            stream.end(failure)

    Thread(target=run, name="muomni-beside", daemon=True).start()
    return stream
