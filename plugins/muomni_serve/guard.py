"""What happens to a request before its endpoint sees it: who may ask, from where, and how much may be sent."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from muomni_serve import page
from muomni_serve.errors import ApiError
from muomni_serve.settings import ServeSettings

OPEN = page.OPEN | {"/health"}  # paths that need no key
KEY_PROTOCOL = "openai-insecure-api-key."
METHODS, HEADERS = "GET, POST, OPTIONS", "authorization, content-type"


class Guard:
    """Checks Host (against DNS rebinding), Origin and key, adds the headers of CORS, and bounds what is received.

    Host must be an address, ``localhost`` or a name that the server was started with: a page of another name that was
    made to resolve to this machine is refused. A request with an Origin must come from the server's own pages, or from
    an origin that was named.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["type"] == "websocket":
            try:
                self._check_host(headers.get("host", ""))
                self._check_origin(headers)
                self._check_key(headers.get("authorization", "") or _key_of_page(scope))
            except ApiError as error:
                await send({"type": "websocket.close", "code": 1008, "reason": error.code or ""})
                return
            await self._app(scope, receive, send)
            return
        shared: dict[str, str] = {}
        try:
            self._check_host(headers.get("host", ""))
            shared = self._check_origin(headers)
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await Response(status_code=204, headers=shared)(scope, receive, send)
                return
            if scope["path"] not in OPEN:
                self._check_key(headers.get("authorization", ""))
            if int(headers.get("content-length", "0")) > self._settings.max_body:
                raise self._too_large()
        except ApiError as error:
            await error_response(error, shared)(scope, receive, send)
            return

        async def send_shared(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in shared.items()]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        await self._app(scope, self._bounded(receive), send_shared)

    def _check_host(self, host: str) -> None:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        known = {"localhost", self._settings.host.lower(), *(one.lower() for one in self._settings.hosts)}
        if name not in known and not _is_address(name):
            message = f"the Host {host!r} is not one of this server's: start it with --allow-host {name or 'NAME'}"
            raise ApiError(403, message, code="host_not_allowed")

    def _check_origin(self, headers: Mapping[str, str]) -> dict[str, str]:
        origin = headers.get("origin")
        if origin is None:
            return {}
        if origin in self._settings.origins or "*" in self._settings.origins:
            return {
                "access-control-allow-origin": origin,
                "access-control-allow-methods": METHODS,
                "access-control-allow-headers": headers.get("access-control-request-headers", HEADERS),
                "access-control-expose-headers": "x-sample-rate",
                "vary": "Origin",
            }
        if origin != f"http://{headers.get('host', '')}":
            message = f"pages of {origin} may not call this server: start it with --cors-origin {origin}"
            raise ApiError(403, message, code="origin_not_allowed")
        return {}

    def _check_key(self, authorization: str) -> None:
        key = self._settings.api_key
        if not key:
            return
        kind, _, given = authorization.partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), key.encode()):
            message = "the key is missing or wrong: send it as Authorization: Bearer KEY"
            raise ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})

    def _too_large(self) -> ApiError:
        most = self._settings.max_body
        message = f"the request is larger than {most:,} bytes: send less, or start the server with a larger --max-body"
        return ApiError(413, message, code="request_too_large", headers={"Connection": "close"})

    def _bounded(self, receive: Receive) -> Receive:
        """``receive`` that raises ApiError once too much has come, or the body takes too long."""
        held, whole = 0, False
        until = time.monotonic() + self._settings.upload_timeout

        async def bounded() -> Message:
            nonlocal held, whole
            if whole:  # only the end of the connection can follow, and it may take its time
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, until - time.monotonic()))
            except TimeoutError as error:
                most = self._settings.upload_timeout
                text = f"the request did not arrive within {most:g} seconds"
                raise ApiError(408, text, code="upload_timeout", headers={"Connection": "close"}) from error
            if message["type"] == "http.request":
                held += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if held > self._settings.max_body:
                    raise self._too_large()
            return message

        return bounded


def _key_of_page(scope: Scope) -> str:
    """The key of a web page, which cannot set headers of a WebSocket, as OpenAI's clients send it: in a subprotocol."""
    found = (one.removeprefix(KEY_PROTOCOL) for one in scope.get("subprotocols", ()) if one.startswith(KEY_PROTOCOL))
    return f"Bearer {key}" if (key := next(found, "")) else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def error_response(error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
    """An error object."""
    return JSONResponse(error.body, error.status, headers={**error.headers, **(headers or {})})
