"""The Starlette application: its routes are lists that the modules of the server declare."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from muomni_cli import __version__
from muomni_serve import chat, listing, page, realtime, speech, transcriptions
from muomni_serve.endpoints import Endpoint
from muomni_serve.errors import ApiError, from_failure
from muomni_serve.guard import Guard, error_response
from muomni_serve.openapi import document
from muomni_serve.service import Service

LOG = logging.getLogger("muomni.serve")
ENDPOINTS: Sequence[Endpoint] = (
    *listing.ENDPOINTS,
    *chat.ENDPOINTS,
    *speech.ENDPOINTS,
    *transcriptions.ENDPOINTS,
)
"""All that the OpenAPI document describes. A module of further HTTP paths adds its list here."""

ROUTES: Sequence[BaseRoute] = (*page.ROUTES, *realtime.ROUTES)
"""Routes that OpenAPI does not describe: pages, WebSockets. They find the :class:`Service` in ``app.state.service``."""


def make_app(service: Service) -> Starlette:
    """The application of one server."""
    routes: list[BaseRoute] = [Route(one.path, _answered(service, one), methods=[one.method]) for one in ENDPOINTS]
    settings = service.settings
    fixed: dict[str, Mapping[str, Any]] = {
        "model": {"enum": list(service.models)},
        "input": {"maxLength": settings.max_text},
    }
    described = document(ENDPOINTS, transcriptions.SCHEMAS, __version__, fixed, keyed=bool(settings.api_key))

    async def openapi(request: Request) -> Response:  # noqa: ARG001
        return JSONResponse(described)

    routes.append(Route("/openapi.json", openapi, methods=["GET"]))
    app = Starlette(
        routes=[*routes, *ROUTES],
        middleware=[Middleware(Guard, settings=settings)],
        exception_handlers={HTTPException: _not_routed, ApiError: _failed, Exception: _failed},
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app


def _answered(service: Service, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """The handler of a route: errors become error objects, and what is answered is counted."""

    async def handle(request: Request) -> Response:
        begin = time.perf_counter()
        try:
            response = await endpoint.handler(service, request)
        except ClientDisconnect:
            response = Response(status_code=499)  # the client is gone
        except Exception as error:
            failure = from_failure(error)
            if failure.status == 500 and not isinstance(error, ApiError):
                LOG.exception("%s %s failed", endpoint.method, endpoint.path)
            response = error_response(failure)
        service.figures.requests.labels(endpoint.path, str(response.status_code)).inc()
        service.figures.first.labels(endpoint.path).observe(time.perf_counter() - begin)
        return response

    return handle


async def _not_routed(request: Request, error: Exception) -> Response:
    """A path that there is not, or one with another method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return error_response(listing.not_found(request.url.path))
    message = f"{request.url.path} does not take {request.method}"
    return error_response(ApiError(error.status_code, message, code="not_allowed", headers=error.headers))


async def _failed(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return error_response(from_failure(error))
