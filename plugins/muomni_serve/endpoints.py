"""An endpoint as data: its handler, and what the OpenAPI document says about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from muomni_serve.errors import ApiError, from_validation
from muomni_serve.service import Service

JSON, FORM = "application/json", "multipart/form-data"
STREAM = "text/event-stream"
Body = TypeVar("Body", bound=BaseModel)
Handler = Callable[[Service, Request], Awaitable[Response]]
BINARY = {"type": "string", "format": "binary"}
TEXT = {"type": "string"}
EVENTS = {
    "description": "one server-sent event",
    "type": "object",
    "required": ["data"],
    "properties": {"data": {"type": "string", "description": "a JSON object, or [DONE] at the end of a chat answer"}},
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path of the server.

    Args:
        method: of HTTP.
        path: as Starlette and OpenAPI write it.
        handler: answers a request; may raise :class:`ApiError`.
        summary: one line.
        body: of a request.
        body_type: its media type.
        answers: media type -> model or JSON schema of the body of status 200.
        errors: other statuses.
        headers: of status 200, name -> description.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    body: type[BaseModel] | None = None
    body_type: str = JSON
    answers: Mapping[str, type[BaseModel] | Mapping[str, Any]] = field(default_factory=dict)
    errors: Sequence[int] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


GENERATION_ERRORS = (400, 404, 408, 413, 415, 429, 500, 503)


async def json_body(request: Request, model: type[Body], neutral: Sequence[str] = ()) -> Body:
    """The body of a request. ApiError (400, 415) if it is not JSON, or not ``model``."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise ApiError(415, f"the body must be JSON: send it as {JSON}", code="unsupported_media_type")
    content = await request.body()
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise from_validation(error, neutral) from error
    except RecursionError as error:
        raise ApiError(400, "the body is nested too deeply", code="invalid_value") from error


def validated(model: type[Body], values: Mapping[str, Any], neutral: Sequence[str] = ()) -> Body:
    """``values`` of a form. ApiError (400) if they are not ``model``."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise from_validation(error, neutral) from error
