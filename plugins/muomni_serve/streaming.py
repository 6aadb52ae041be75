"""Answers that are sent while they are made, and what happens when their client hangs up."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from muomni_cli.api import Word
from muomni_serve.errors import ApiError
from muomni_serve.worker import EventStream

LOG = logging.getLogger("muomni.serve")
DONE = b"data: [DONE]\n\n"


def sse(data: Mapping[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def timed(words: Sequence[Word]) -> list[dict[str, Any]]:
    """Words as the API tells them; start and end are seconds."""
    return [{"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)} for word in words]


@asynccontextmanager
async def cancelled_by_hanging_up(receive: Receive, *streams: EventStream) -> AsyncIterator[None]:
    """Within, the streams end when the client has hung up; at the end, in any case."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        for stream in streams:
            stream.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        for stream in streams:
            stream.cancel()


async def collected(request: Request, stream: EventStream) -> list[Any]:
    """All events of a stream; none more once the client has hung up. ApiError if it fails."""
    async with cancelled_by_hanging_up(request.receive, stream):
        return [event async for event in stream]


async def first_of(request: Request, stream: EventStream) -> Any:
    """The first event, which tells that the request is valid; None if there is none, or the client has hung up.
    ApiError if it fails."""
    waiting = asyncio.ensure_future(anext(stream, None))
    gone = asyncio.ensure_future(request.receive())  # the body was read: only the end of the connection can follow
    try:
        await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            stream.cancel()
        return await waiting
    except BaseException:
        stream.cancel()
        raise
    finally:
        gone.cancel()


class StreamedResponse(Response):
    """Sends pieces as they come, and cancels their ``source`` when the client hangs up.

    An :class:`ApiError` in between cannot change the status any more: with ``media_type`` ``text/event-stream`` it is
    an event of its own, and otherwise the connection is closed without an end.
    """

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        source: EventStream,
        media_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.pieces, self.source, self.media_type, self.status_code = pieces, source, media_type, 200
        self.background = None
        self.init_headers({"cache-control": "no-store", **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with cancelled_by_hanging_up(receive, self.source):
            try:
                async for piece in self.pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except ApiError as error:
                if self.media_type != "text/event-stream":
                    LOG.warning("a stream was cut off: %s", error.message)
                    return
                await send({"type": "http.response.body", "body": sse(error.body), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
