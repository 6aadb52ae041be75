"""``POST /v1/audio/transcriptions``: a file to words, whole or while they are recognized."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from muomni_cli import Model
from muomni_cli.api import RequestError, Word, subtitles
from muomni_serve.endpoints import EVENTS, FORM, GENERATION_ERRORS, JSON, STREAM, TEXT, Endpoint, validated
from muomni_serve.errors import ApiError, from_failure, invalid, unsupported
from muomni_serve.media import RequestMedia
from muomni_serve.requests import TRANSCRIPTION_NEUTRAL, TranscriptionRequest
from muomni_serve.responses import (
    DurationUsage,
    Segment,
    TranscribedWord,
    TranscriptionAnswer,
    VerboseTranscription,
)
from muomni_serve.service import Service
from muomni_serve.streaming import StreamedResponse, collected, first_of, sse
from muomni_serve.worker import EventStream

LISTS = "timestamp_granularities[]"
PAUSE = 0.7  # a segment ends before a silence of this many seconds
SRT, VTT = "application/x-subrip", "text/vtt"


@dataclass(frozen=True, slots=True)
class Listened:
    """The end of a recording, in seconds."""

    seconds: float


async def transcribe(service: Service, request: Request) -> Response:
    """Transcribe a file."""
    body, content, name = await read_form(request)
    model = service.model(body.model)
    model.require("transcribe", "transcribe")
    if body.language not in ("", service.settings.language):
        raise unsupported("language", f"this server transcribes {service.settings.language!r}")
    if body.timestamp_granularities and body.response_format != "verbose_json":
        raise invalid(LISTS, "timestamp_granularities[] needs response_format=verbose_json")
    if body.stream == "true" and body.response_format not in ("json", "text"):
        raise invalid("stream", "a transcript is streamed with response_format=json or text")
    media = RequestMedia("audio", name, content)
    stream = model.worker.submit(lambda opened, events: listen(opened, media, service.settings.max_audio, events))
    if body.stream == "true":
        first = await first_of(request, stream)
        return StreamedResponse(_events(service, model.id, first, stream), stream, STREAM)
    made = await collected(request, stream)
    words = [one for one in made if isinstance(one, Word)]
    service.figures.transcribed.labels(model.id).inc(len(words))
    seconds = sum(one.seconds for one in made if isinstance(one, Listened))
    return answer(body, words, seconds, service.settings.language)


async def read_form(request: Request) -> tuple[TranscriptionRequest, bytes, str]:
    """The fields of the form, and the content and name of its file. ApiError (400, 415) if they are wrong."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise ApiError(415, f"the body must be a form with a file: send it as {FORM}", code="unsupported_media_type")
    try:
        async with request.form(max_files=1, max_fields=32) as form:
            body = validated(TranscriptionRequest, _fields(form), TRANSCRIPTION_NEUTRAL)
            if not isinstance(body.file, UploadFile):
                raise invalid("file", "file must be an uploaded file, with a file name")
            return body, await body.file.read(), f"the file {body.file.filename or ''!r}"
    except (HTTPException, KeyError, ValueError) as error:
        reason = error.detail if isinstance(error, HTTPException) else str(error)
        raise ApiError(400, f"the form cannot be read: {reason}", code="invalid_value") from error


def _fields(form: FormData) -> dict[str, Any]:
    """Each field once; ApiError (400) for one that is repeated and is not a list."""
    found: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name == LISTS:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise invalid(name, f"{name} is given more than once")
        else:
            found[name] = value
    return found


def listen(model: Model, media: RequestMedia, max_seconds: float, events: EventStream) -> None:
    """In the model's thread: the words, each as soon as it is final, and the length of the recording. ApiError (400,
    413) if the file cannot be read or is too long."""
    seconds = duration(media, max_seconds)
    try:
        for word in model.words_of(media, max_seconds=max_seconds):
            events.put(word)
    except RequestError as error:
        raise from_failure(error, "file") from error
    events.put(Listened(seconds))


def duration(media: RequestMedia, max_seconds: float) -> float:
    """Length in seconds. ApiError (400, 413) if the file cannot be read or is too long."""
    from muomni_cli.audio.io import pieces

    rate = 4_000  # the lowest that can be asked for: samples are only counted
    try:
        with media.open() as file:
            return (
                sum(piece.size for piece in pieces(_SampleCounter(rate, max_seconds), file, media.name, max_seconds))
                / rate
            )
    except RequestError as error:
        if "holds audio" in error.what:
            message = f"{media.name} is longer than {max_seconds:g} seconds, which is the most that is taken: cut it"
            raise ApiError(413, message, param="file", code="audio_too_long") from error
        raise from_failure(error, "file") from error


@dataclass(frozen=True, slots=True)
class _SampleCounter:
    """How audio is read to count its samples; see :class:`muomni_cli.contract.speech.ReadSettings`."""

    sample_rate: int
    max_seconds: float
    shortest: int = 1


def answer(body: TranscriptionRequest, words: Sequence[Word], seconds: float, language: str) -> Response:
    """The whole transcript in the format of the request."""
    text = " ".join(word.text for word in words)
    if body.response_format == "text":
        return PlainTextResponse(text + "\n")
    if body.response_format == "srt":
        return PlainTextResponse("".join(subtitles(words)), media_type=SRT)
    if body.response_format == "vtt":
        return PlainTextResponse("".join(web_subtitles(words)), media_type=VTT)
    if body.response_format == "json":
        return JSONResponse(TranscriptionAnswer(text=text).model_dump())
    wanted = body.timestamp_granularities or ["segment"]
    made = VerboseTranscription(
        language=language,
        duration=round(seconds, 3),
        text=text,
        segments=segments(words) if "segment" in wanted else None,
        words=[TranscribedWord(word=word.text, start=word.start, end=word.end) for word in words]
        if "word" in wanted
        else None,
        usage=DurationUsage(seconds=round(seconds, 3)),
    )
    return JSONResponse(made.model_dump())


def web_subtitles(words: Iterable[Word]) -> list[str]:
    """WebVTT: SubRip's blocks, with a point in the times."""
    found = ["WEBVTT\n\n"]
    for block in subtitles(words):
        number, times, rest = block.split("\n", 2)
        found.append(f"{number}\n{times.replace(',', '.')}\n{rest}")
    return found


def segments(words: Sequence[Word]) -> list[Segment]:
    """The words between two pauses."""
    groups: list[list[Word]] = []
    for word in words:
        if not groups or word.start - groups[-1][-1].end >= PAUSE:
            groups.append([])
        groups[-1].append(word)
    return [
        Segment(id=number, start=group[0].start, end=group[-1].end, text=" ".join(word.text for word in group))
        for number, group in enumerate(groups)
    ]


async def _events(service: Service, model: str, first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    text, one, seconds = "", first, 0.0
    while one is not None:
        if isinstance(one, Word):
            delta = f" {one.text}" if text else one.text
            text += delta
            service.figures.transcribed.labels(model).inc()
            yield sse({"type": "transcript.text.delta", "delta": delta})
        else:
            seconds = one.seconds
        one = await anext(rest, None)
    usage = {"type": "duration", "seconds": round(seconds, 3)}
    yield sse({"type": "transcript.text.done", "text": text, "usage": usage})


ENDPOINTS = [
    Endpoint(
        "POST",
        "/v1/audio/transcriptions",
        transcribe,
        "Transcribe audio.",
        body=TranscriptionRequest,
        body_type=FORM,
        answers={
            JSON: {
                "anyOf": [
                    {"$ref": "#/components/schemas/TranscriptionAnswer"},
                    {"$ref": "#/components/schemas/VerboseTranscription"},
                ]
            },
            "text/plain": TEXT,
            SRT: TEXT,
            VTT: TEXT,
            STREAM: EVENTS,
        },
        errors=GENERATION_ERRORS,
    )
]
SCHEMAS = (TranscriptionAnswer, VerboseTranscription)
"""Models that answers refer to by name."""
