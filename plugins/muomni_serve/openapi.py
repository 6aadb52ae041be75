"""The OpenAPI document, made of the endpoints and the models that they really use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from muomni_serve.endpoints import Endpoint
from muomni_serve.errors import ErrorBody

REASONS = {
    400: "a parameter is wrong, or is not supported",
    401: "the key is missing or wrong",
    403: "the Host or Origin is not allowed",
    404: "there is no such model",
    408: "it took too long",
    413: "the request, its audio or an image is too large",
    415: "the body has the wrong media type",
    429: "too many requests wait",
    500: "the server failed",
    503: "the server stops, or has no memory left",
}
EVERYWHERE = (400, 401, 403)
"""Statuses that every path may answer with."""


def document(
    endpoints: Sequence[Endpoint],
    further: Iterable[type[BaseModel]],
    version: str,
    fixed: Mapping[str, Mapping[str, Any]],
    *,
    keyed: bool,
) -> dict[str, Any]:
    """OpenAPI 3.1.

    Args:
        endpoints: all of the server.
        further: models that answers refer to by name.
        version: of muomni.
        fixed: parameter -> keywords that its schema has on this server besides those of its model.
        keyed: requests must carry a key.
    """
    described: list[type[BaseModel]] = [ErrorBody, *further]
    for one in endpoints:
        described += [one.body] if one.body is not None else []
        described += [made for made in one.answers.values() if isinstance(made, type)]
    _, schemas = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(described)], ref_template="#/components/schemas/{model}"
    )
    for body in {one.body.__name__ for one in endpoints if one.body is not None}:
        properties = schemas["$defs"][body]["properties"]
        for name in fixed.keys() & properties.keys():
            properties[name].update(fixed[name])
    paths: dict[str, dict[str, Any]] = {}
    for one in endpoints:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    components: dict[str, Any] = {"schemas": schemas["$defs"]}
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "muomni", "version": version, "description": "OpenAI's interfaces for muomni's models."},
        "paths": paths,
        "components": components,
    }
    if keyed:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
    return found


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    errors = sorted({*EVERYWHERE, *endpoint.errors})
    error = {"application/json": {"schema": _reference(ErrorBody)}}
    answer: dict[str, Any] = {"description": endpoint.summary}
    answer["content"] = {kind: {"schema": _reference(made)} for kind, made in endpoint.answers.items()}
    if endpoint.headers:
        answer["headers"] = {
            name: {"description": about, "schema": {"type": "string"}} for name, about in endpoint.headers.items()
        }
    made: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": f"{endpoint.method.lower()}{endpoint.path.replace('/', '_').replace('{', '').replace('}', '')}",
        "responses": {
            "200": answer,
            **{str(status): {"description": REASONS[status], "content": error} for status in errors},
        },
    }
    names = [step[1:-1] for step in endpoint.path.split("/") if step.startswith("{")]
    if names:
        made["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if endpoint.body is not None:
        made["requestBody"] = {
            "required": True,
            "content": {endpoint.body_type: {"schema": _reference(endpoint.body)}},
        }
    return made


def _reference(made: type[BaseModel] | Mapping[str, Any]) -> Mapping[str, Any]:
    return {"$ref": f"#/components/schemas/{made.__name__}"} if isinstance(made, type) else made
