"""``POST /v1/audio/speech``: a text to audio, sent while it is made."""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from muomni_cli import Model
from muomni_cli.api import Word
from muomni_cli.audio.encoding import FORMATS, encoded
from muomni_serve.endpoints import BINARY, EVENTS, GENERATION_ERRORS, STREAM, Endpoint, json_body
from muomni_serve.errors import ApiError, invalid
from muomni_serve.requests import SPEECH_NEUTRAL, SpeechRequest
from muomni_serve.service import ServedModel, Service
from muomni_serve.streaming import StreamedResponse, first_of, sse, timed
from muomni_serve.worker import EventStream

LOG = logging.getLogger("muomni.serve")
RATE_HEADER = "X-Sample-Rate"


@dataclass(frozen=True, slots=True)
class SpokenAudio:
    """Bytes of the file, and the words that are complete with them."""

    data: bytes
    words: Sequence[Word]


@dataclass(frozen=True, slots=True)
class SpeechEnd:
    """What was spoken: its length, in frames of the codec too, the last words, and what was left out of the text."""

    seconds: float
    frames: int
    words: Sequence[Word]
    losses: tuple[str, ...]


async def speech(service: Service, request: Request) -> Response:
    """Speak a text."""
    body = await json_body(request, SpeechRequest, SPEECH_NEUTRAL)
    model = service.model(body.model)
    model.require("speak", "speak")
    model.voice(body.voice, "voice")
    if len(body.input) > (most := service.settings.max_text):
        raise invalid("input", f"input has {len(body.input):,} characters, and at most {most:,} are spoken: send less")
    together = "frames" in model.worker.together
    stream = model.worker.submit(lambda opened, events: speak(body, opened, events, together=together), "frames")
    first = await first_of(request, stream)

    async def pieces() -> AsyncIterator[bytes]:
        piece = first
        while piece is not None:
            if isinstance(piece, SpokenAudio):
                yield piece.data if body.stream_format == "audio" else _delta(piece)
            else:
                _count(service, model, piece)
                if body.stream_format == "sse":
                    yield _done(body, piece)
            piece = await anext(stream, None)

    form = FORMATS[body.response_format]
    rate = form.rate(model.entry.sample_rate or 0)
    kind = STREAM if body.stream_format == "sse" else form.media_type
    return StreamedResponse(pieces(), stream, kind, {RATE_HEADER: str(rate)})


def speak(body: SpeechRequest, model: Model, events: EventStream, *, together: bool) -> Iterator[None]:
    """In the model's thread: the bytes of the file, piece by piece, and their end. Others take turns at every piece.
    ApiError (400) if nothing in the text can be spoken."""
    made = model.speech(
        body.input,
        together=together,
        voice=body.voice,
        speed=body.speed,
        seed=body.seed % 2**64,
        temperature=body.temperature,
    )
    told = 0
    for data in encoded(events.watched(made), model.sample_rate, FORMATS[body.response_format]):
        if data and made.stats.samples:
            words = made.stats.words[told:]
            told += len(words)
            events.put(SpokenAudio(data, words))
        yield
    if not made.stats.samples:
        message = "nothing in the text can be spoken: write words in Latin letters, numbers or common signs"
        raise ApiError(400, message, param="input", code="invalid_value")
    stats = made.stats
    events.put(SpeechEnd(stats.seconds, stats.frames, stats.words[told:], tuple(stats.losses)))


def _count(service: Service, model: ServedModel, end: SpeechEnd) -> None:
    service.figures.spoken.labels(model.id).inc(end.seconds)
    for loss in end.losses:
        LOG.warning("%s: %s", model.id, loss)


def _delta(piece: SpokenAudio) -> bytes:
    """``words`` is not of OpenAI."""
    audio = base64.b64encode(piece.data).decode()
    return sse({"type": "speech.audio.delta", "audio": audio, "words": timed(piece.words)})


def _done(body: SpeechRequest, end: SpeechEnd) -> bytes:
    """Tokens are characters of the text and frames of the codec. ``words`` and ``warnings`` are not of OpenAI."""
    given, made = len(body.input), end.frames
    usage = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
    return sse({"type": "speech.audio.done", "usage": usage, "words": timed(end.words), "warnings": list(end.losses)})


ENDPOINTS = [
    Endpoint(
        "POST",
        "/v1/audio/speech",
        speech,
        "Speak a text.",
        body=SpeechRequest,
        answers={form.media_type: BINARY for form in FORMATS.values()} | {STREAM: EVENTS},
        errors=GENERATION_ERRORS,
        headers={RATE_HEADER: "samples per second"},
    )
]
