"""Errors as OpenAI's error objects: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from muomni_cli.api import MuomniError, RequestError

TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class ErrorDetail(BaseModel):
    """What is wrong, and which parameter it is."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every answer whose status is 400 or more."""

    error: ErrorDetail


class ApiError(Exception):
    """An answer with an error object.

    Args:
        status: of HTTP.
        message: what is wrong and what to do.
        param: the parameter that is wrong, as in ``messages[0].content``.
        code: for programs.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The error object."""
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        detail = ErrorDetail(message=self.message, type=kind, param=self.param, code=self.code)
        return ErrorBody(error=detail).model_dump()


def unsupported(param: str, instead: str = "leave it out") -> ApiError:
    """Status 400 for a parameter, or a value of it, that this server does not support."""
    return ApiError(400, f"{param} is not supported: {instead}", param=param, code="unsupported_parameter")


def invalid(param: str, message: str) -> ApiError:
    """Status 400 for a value that is wrong."""
    return ApiError(400, message, param=param, code="invalid_value")


def from_failure(error: BaseException, param: str | None = None) -> ApiError:
    """What a model raised: a request that it cannot answer, or a failure of the server."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestError):
        named = next((word for word in error.what.split() if word.startswith("messages[")), None)  # of RequestMedia
        return ApiError(400, sentence(error), param=param or named, code="invalid_value")
    if isinstance(error, MuomniError):
        return ApiError(500, sentence(error), code="model_failure")
    if isinstance(error, MemoryError):
        return ApiError(503, "out of memory: send less, or try again later", code="out_of_memory")
    return ApiError(500, "the server failed; its log says how", code="internal_error")


def sentence(error: MuomniError) -> str:
    """Both lines of an error."""
    return f"{error.what}; {error.fix}" if error.fix else error.what


def from_validation(error: ValidationError, neutral: Sequence[str] = ()) -> ApiError:
    """The first mistake of a request. ``neutral``: parameters that may only have the value that changes nothing."""
    mistakes = error.errors(include_url=False, include_input=False)
    begin = keys(mistakes[0]["loc"])
    # Each member of a union says why it is not meant; the one that looked furthest is.
    first = max((one for one in mistakes if keys(one["loc"])[: len(begin)] == begin), key=lambda one: len(one["loc"]))
    place = keys(first["loc"])
    param = path(place)
    kind = first["type"]
    if kind == "missing":
        return ApiError(400, f"{param} is missing", param=param, code="missing_required_parameter")
    if kind == "extra_forbidden" or (place and place[0] in neutral):
        return unsupported(param)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return ApiError(400, f"{param or 'the body'}: {first['msg']}", param=param or None, code="unsupported_value")
    message = f"{param}: {first['msg']}" if param else first["msg"]
    return ApiError(400, message, param=param or None, code="invalid_value")


TAGS = frozenset({"text", "image_url", "input_audio", "system", "developer", "user", "assistant", "tool"})
KEY = re.compile(r"(?!(str|NamedTool)$)\w+(\[\])?")


def keys(steps: Sequence[int | str]) -> list[int | str]:
    """A pydantic location without the steps that name a member of a union: a tag behind a position in a list, or a
    type such as ``list[str]`` or a class."""
    return [
        step
        for before, step in zip((None, *steps), steps, strict=False)
        if isinstance(step, int) or (KEY.fullmatch(step) and not (isinstance(before, int) and step in TAGS))
    ]


def path(steps: Sequence[int | str]) -> str:
    """``messages[0].content`` for ``("messages", 0, "content")``."""
    found = ""
    for step in steps:
        found += f"[{step}]" if isinstance(step, int) else f".{step}" if found else step
    return found
