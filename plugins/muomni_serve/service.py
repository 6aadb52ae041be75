"""What all routes share: the models by id, the settings, and the measured figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from muomni_cli import Model, load
from muomni_serve.errors import ApiError
from muomni_serve.responses import ModelEntry
from muomni_serve.settings import ServeSettings
from muomni_serve.worker import Kind, ModelWorker

ROWS = 16  # chats of a model at a time, and spoken answers; its batches take as many
LATENCIES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Figures:
    """Counters of one server, for ``/metrics``."""

    def __init__(self, waiting: Callable[[], Mapping[str, int]], loaded: Callable[[], Mapping[str, bool]]) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        self.requests = counter("muomni_requests", "Answered requests.", ["path", "status"])
        self.prompt_tokens = counter("muomni_prompt_tokens", "Tokens of prompts.", ["model"])
        self.completion_tokens = counter("muomni_completion_tokens", "Tokens of answers.", ["model"])
        self.spoken = counter("muomni_spoken_seconds", "Seconds of synthesized speech.", ["model"])
        self.transcribed = counter("muomni_transcribed_words", "Transcribed words.", ["model"])
        self.first = Histogram(
            "muomni_first_byte_seconds",
            "Time from a request to the first byte of its answer.",
            ["path"],
            buckets=LATENCIES,
            registry=self.registry,
        )
        self._waiting, self._loaded = waiting, loaded
        self._queue = Gauge("muomni_waiting", "Requests that wait or run.", ["model"], registry=self.registry)
        self._models = Gauge("muomni_loaded", "Whether a model is loaded.", ["model"], registry=self.registry)

    def refresh(self) -> None:
        """Set the figures that are not counted but looked up."""
        for name, count in self._waiting().items():
            self._queue.labels(name).set(count)
        for name, there in self._loaded().items():
            self._models.labels(name).set(there)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model under its id."""

    entry: ModelEntry
    worker: ModelWorker

    @property
    def id(self) -> str:
        return self.entry.id

    def require(self, capability: str, what: str) -> None:
        """ApiError (400) unless the model can do it."""
        if capability not in self.entry.capabilities:
            raise ApiError(400, f"the model {self.id} cannot {what}", param="model", code="unsupported_value")

    def voice(self, name: str | None, param: str) -> str | None:
        """A voice of this model. ApiError (400) if there is none of that name."""
        if name is None or name in self.entry.voices:
            return name
        known = f"it has {', '.join(self.entry.voices)}" if self.entry.voices else "leave it out: it has one voice"
        raise ApiError(400, f"the model {self.id} has no voice {name!r}: {known}", param=param, code="invalid_value")


@dataclass(slots=True)
class Service:
    """One server's models, settings and figures; ``live_sessions``: open connections of ``/v1/realtime``."""

    settings: ServeSettings
    models: Mapping[str, ServedModel]
    figures: Figures = field(init=False)
    live_sessions: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.figures = Figures(
            lambda: {name: model.worker.waiting for name, model in self.models.items()},
            lambda: {name: model.worker.loaded for name, model in self.models.items()},
        )

    def model(self, name: str) -> ServedModel:
        """A model by its id. ApiError (404) if there is none."""
        if name not in self.models:
            known = ", ".join(self.models)
            raise ApiError(
                404, f"there is no model {name!r}: this server has {known}", param="model", code="model_not_found"
            )
        return self.models[name]

    def stop(self) -> None:
        """End all that waits or runs, with an error; called in the event loop."""
        for model in self.models.values():
            model.worker.cancel_all(ApiError(503, "the server stops", code="server_stopping"))

    def close(self) -> None:
        """End the threads of all models."""
        for model in self.models.values():
            model.worker.close()


def open_service(settings: ServeSettings) -> Service:
    """Open each model once, to know what it can do, and leave it open for its first request. Errors as of
    :func:`muomni_cli.load`."""
    found: dict[str, ServedModel] = {}
    for name, spec in settings.models.items():
        model = load(spec, device=settings.device, threads=settings.threads)
        entry = _entry(name or model.name, model)
        found[entry.id] = ServedModel(entry, _worker(spec, model, settings))
    return Service(settings, found)


def _worker(spec: str | None, model: Model, settings: ServeSettings) -> ModelWorker:
    opened = [model]

    def again() -> Model:
        return opened.pop() if opened else load(spec, device=settings.device, threads=settings.threads)

    engine, asked = model.engine, settings.together
    together: set[Kind] = set()
    if asked or (asked is None and "thinker" in engine.parts and engine.alignment is not None):
        together.add("tokens")
    if asked is not False and "talker" in engine.parts:
        together.add("frames")
        if "speak" in model.capabilities:  # a first word, so that the first answer waits for no graph to be opened
            for _ in model.speech("one", together=True):
                pass
    threads = engine.batches if together else 1
    return ModelWorker(again, settings.keep, settings.queue, settings.timeout, together, ROWS, threads)


def _entry(name: str, model: Model) -> ModelEntry:
    able = model.capabilities
    voices: Sequence[str] = model.voices if "speak" in able else ()
    return ModelEntry(
        id=name,
        created=int(time.time()),
        owned_by="muomni",
        capabilities=sorted(able),
        voices=list(voices),
        sample_rate=model.sample_rate if "speak" in able else None,
    )
