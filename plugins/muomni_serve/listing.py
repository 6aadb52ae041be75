"""``GET /v1/models``, ``/health``, ``/metrics``, and what is answered for paths of OpenAI's that are not served."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from muomni_serve.endpoints import JSON, TEXT, Endpoint
from muomni_serve.errors import ApiError
from muomni_serve.responses import Health, ModelEntry, ModelList
from muomni_serve.service import Service

INSTEAD = {
    "/v1/responses": "use POST /v1/chat/completions",
    "/v1/completions": "use POST /v1/chat/completions",
    "/v1/conversations": "use POST /v1/chat/completions with all messages",
    "/v1/audio/translations": "use POST /v1/audio/transcriptions, which keeps the language",
    "/v1/audio/voices": "GET /v1/models lists the voices of each model",
    "/v1/embeddings": "no model of this server makes embeddings of texts",
    "/v1/images": "no model of this server makes images",
    "/v1/videos": "no model of this server makes videos",
    "/v1/moderations": "no model of this server moderates",
    "/v1/realtime/calls": "there is no WebRTC: connect with a WebSocket to /v1/realtime?model=ID",
    "/v1/realtime/client_secrets": "send the key itself, as Authorization: Bearer KEY",
    "/v1/realtime": "connect with a WebSocket, to /v1/realtime?model=ID",
}
"""Paths of OpenAI's with something to do instead."""

OTHERS = (
    "assistants", "batches", "chat", "chatkit", "containers", "evals", "files", "fine_tuning", "organization",
    "threads", "uploads", "vector_stores",
)  # fmt: skip
"""Further paths of OpenAI's below /v1."""


async def models(service: Service, request: Request) -> Response:  # noqa: ARG001
    """All models."""
    return JSONResponse(ModelList(data=[one.entry for one in service.models.values()]).model_dump())


async def model(service: Service, request: Request) -> Response:
    """One model."""
    return JSONResponse(service.model(request.path_params["model"]).entry.model_dump())


async def health(service: Service, request: Request) -> Response:  # noqa: ARG001
    """That the server runs."""
    loaded = {name: one.worker.loaded for name, one in service.models.items()}
    return JSONResponse(Health(status="ok", models=loaded).model_dump())


async def metrics(service: Service, request: Request) -> Response:  # noqa: ARG001
    """Counters in the text format of Prometheus."""
    service.figures.refresh()
    return Response(generate_latest(service.figures.registry), media_type=CONTENT_TYPE_LATEST)


def not_found(path: str) -> ApiError:
    """Status 404, with a word about paths that OpenAI has."""
    for prefix, instead in INSTEAD.items():
        if path == prefix or path.startswith(f"{prefix}/"):
            return ApiError(404, f"{prefix} is not served: {instead}", code="not_served")
    if path.split("/")[1:2] == ["v1"] and path.split("/")[2:3] and path.split("/")[2] in OTHERS:
        return ApiError(404, f"{path} is not served: GET /openapi.json lists what is", code="not_served")
    return ApiError(404, f"there is no {path}: GET /openapi.json lists what there is", code="not_found")


ENDPOINTS = [
    Endpoint("GET", "/v1/models", models, "List the models.", answers={JSON: ModelList}),
    Endpoint("GET", "/v1/models/{model}", model, "Describe a model.", answers={JSON: ModelEntry}, errors=(404,)),
    Endpoint("GET", "/health", health, "Tell that the server runs.", answers={JSON: Health}),
    Endpoint("GET", "/metrics", metrics, "Counters for Prometheus.", answers={"text/plain": TEXT}),
]
