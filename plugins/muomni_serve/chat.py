"""``POST /v1/chat/completions``: text, images and sounds in, text and speech out."""

from __future__ import annotations

import asyncio
import base64
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from muomni_cli import Model
from muomni_cli.api import Message, RequestError, TextChunk, Word
from muomni_cli.audio.encoding import FORMATS, encode, encoded
from muomni_cli.structured_output.function_calls import AnswerReader
from muomni_serve.answer_forms import AnswerForm, CallWriter, answer_form, message_of
from muomni_serve.endpoints import EVENTS, GENERATION_ERRORS, JSON, STREAM, Endpoint, json_body
from muomni_serve.errors import ApiError, invalid
from muomni_serve.media import messages_of
from muomni_serve.model_thread import beside
from muomni_serve.requests import CHAT_NEUTRAL, ChatRequest
from muomni_serve.responses import AnswerMessage, ChatCompletion, Choice, SpokenAnswer, Usage
from muomni_serve.service import ServedModel, Service
from muomni_serve.streaming import DONE, StreamedResponse, collected, first_of, sse, timed
from muomni_serve.token_trace import TokenTrace
from muomni_serve.worker import EventStream, Kind

LOG = logging.getLogger("muomni.serve")
REASONS: dict[str, Literal["stop", "length"]] = {"length": "length", "context": "length"}
"""OpenAI's ``finish_reason`` of :data:`muomni_cli.generation.loop.Finish`; ``stop`` for all others."""


@dataclass(frozen=True, slots=True)
class ChatJob:
    """A chat request that was checked."""

    id: str
    created: int
    model: ServedModel
    request: ChatRequest
    messages: list[Message]
    options: dict[str, Any]
    choices: int
    seed: int
    answer: AnswerForm = field(default_factory=AnswerForm)
    voice: str | None = None
    form: str = ""  # of the audio, a key of FORMATS; empty for text alone

    @property
    def tells_usage(self) -> bool:
        """Whether the last chunk of a streamed answer tells it."""
        options = self.request.stream_options
        return options is not None and bool(options.include_usage)


@dataclass(frozen=True, slots=True)
class ChatEvent:
    """What was made of one choice: text, audio, or its end."""

    choice: int
    text: str = ""
    audio: bytes = b""
    words: Sequence[Word] = ()
    trace: Sequence[dict[str, Any]] = ()
    finish: str = ""
    prompt_tokens: int = 0
    tokens: int = 0
    seconds: float = 0.0
    losses: tuple[str, ...] = ()


@dataclass(slots=True)
class Gathered:
    """One choice of an answer that is sent when it is complete."""

    text: str = ""
    audio: bytearray = field(default_factory=bytearray)
    last: ChatEvent | None = None


async def chat(service: Service, request: Request) -> Response:
    """Answer a conversation."""
    body = await json_body(request, ChatRequest, CHAT_NEUTRAL)
    job = job_of(service, body, await asyncio.to_thread(answer_form, body))
    kind: Kind = "frames" if job.form else "tokens"
    stream = job.model.worker.submit(lambda model, events: run(job, model, events), kind)
    if not body.stream:
        pieces: list[ChatEvent] = await collected(request, stream)
        return JSONResponse(completion(service, job, pieces).model_dump(exclude_unset=False))
    first = await first_of(request, stream)

    async def events() -> AsyncIterator[bytes]:
        chunks = ChunkWriter(job)
        if first is not None:
            yield chunks.begin() + chunks.of(first)
            async for piece in stream:
                pieces = [piece, *stream.ready()]  # one write for all that were made meanwhile
                for one in pieces:
                    count(service, job, one)
                yield b"".join(map(chunks.of, pieces))
            if shows_image(job) and chunks.tokens:
                yield chunks.occlusion(await occlusion_of(job, chunks.tokens))
        yield chunks.end() + DONE

    return StreamedResponse(events(), stream, STREAM)


def job_of(service: Service, body: ChatRequest, answer: AnswerForm) -> ChatJob:
    """Check everything that can be checked without the model. ApiError if it is wrong or not supported."""
    model = service.model(body.model)
    model.require("chat", "chat")
    form = audio_form(model, body)
    tokens = body.max_completion_tokens or body.max_tokens
    if body.max_tokens and body.max_tokens != tokens:
        raise invalid("max_tokens", "max_tokens and max_completion_tokens differ: give one of them")
    for name in ("stream_options", "trace"):
        if getattr(body, name) and not body.stream:
            raise invalid(name, f"{name} needs stream: true")
    stop = [body.stop] if isinstance(body.stop, str) else body.stop
    options = {
        "temperature": body.temperature,
        "top_p": body.top_p,
        "top_k": body.top_k,
        "min_p": body.min_p,
        "repetition_penalty": body.repetition_penalty,
        "max_tokens": tokens,
        "stop": stop,
        **answer.options,
    }
    takes = [name for name in model.entry.capabilities if name in ("image", "audio")]
    return ChatJob(
        id=f"chatcmpl-{secrets.token_hex(12)}",
        created=int(time.time()),
        model=model,
        request=body,
        messages=messages_of(body, takes, service.settings.max_pixels),
        options=options,
        choices=body.n or 1,
        seed=secrets.randbits(32) if body.seed is None else body.seed % 2**64,
        answer=answer,
        voice=model.voice(body.audio.voice, "audio.voice") if body.audio else None,
        form=form,
    )


def shows_image(job: ChatJob) -> bool:
    """Whether the client wants to know what in the image of its question the first choice depends on."""
    return bool(job.request.trace) and any(one.modality == "image" for one in job.messages[-1].media)


async def occlusion_of(job: ChatJob, tokens: Sequence[int]) -> list[list[float]] | None:
    """What the answer of ``tokens`` depends on in the last image, in nats, by rows from the top; None if the model
    cannot tell. Others are served meanwhile."""

    def work(model: Model, events: EventStream) -> None:
        values = model.occlusion(told_messages(job, model), tokens)
        events.put(None if values is None else [[round(float(one), 3) for one in row] for row in values])

    try:
        return cast("list[list[float]] | None", await anext(await beside(job.model.worker, work), None))
    except ApiError as error:
        LOG.info("no occlusion map: %s", error.message)
        return None


def audio_form(model: ServedModel, body: ChatRequest) -> str:
    """The audio format of the answer; empty for text alone. ApiError if the parameters contradict one another."""
    wanted = body.modalities or ["text"]
    if "text" not in wanted:
        raise invalid("modalities", 'an answer that is spoken also has its text: ["text", "audio"]')
    if "audio" not in wanted:
        if body.audio is not None:
            raise invalid("audio", 'audio needs modalities: ["text", "audio"]')
        return ""
    if body.audio is None:
        raise invalid("audio", 'modalities with "audio" need audio: {"format": "wav"}')
    if (body.n or 1) > 1:
        raise invalid("n", "n must be 1 if the answer is spoken")
    model.require("speak", "speak")
    return "pcm" if body.audio.format == "pcm16" else body.audio.format


def run(job: ChatJob, model: Model, events: EventStream) -> Iterator[None]:
    """In the model's thread: all choices, one after the other; each has its own seed. Others take turns at every
    piece of text, or of sound."""
    messages = told_messages(job, model)
    for choice in range(job.choices):
        seed = (job.seed + choice) % 2**64
        hidden = bool(job.form)
        together = "tokens" in job.model.worker.together
        reply = model.reply(
            messages, hidden=hidden, together=together, notice=_refuse, seed=seed, **cast("Any", job.options)
        )
        events.put(ChatEvent(choice, prompt_tokens=reply.prompt_tokens))
        trace = TokenTrace(model, reply.answer.tokens).new if job.request.trace else tuple
        seconds = 0.0
        losses: tuple[str, ...] = ()
        if job.form:
            seconds, losses = yield from _speak(job, model, _told(reply, events, trace), seed, events)
        else:
            for chunk in reply:
                events.put(ChatEvent(choice, chunk.text, trace=trace()))
                yield
        answer = reply.answer
        events.put(
            ChatEvent(
                choice,
                trace=trace(),
                finish=REASONS.get(str(answer.finish), "stop"),
                prompt_tokens=reply.prompt_tokens,
                tokens=len(answer.tokens),
                seconds=seconds,
                losses=losses,
            )
        )


def told_messages(job: ChatJob, model: Model) -> list[Message]:
    """The conversation, with the functions that the model may call."""
    return job.answer.messages(job.messages, str(model.engine.chat.get("system") or ""))


def _told(pieces: Any, events: EventStream, trace: Callable[[], Sequence[dict[str, Any]]]) -> Iterator[TextChunk]:
    """``pieces``, each passed on as text, with what ``trace`` tells, before it is spoken."""
    for chunk in pieces:
        events.put(ChatEvent(0, chunk.text, trace=trace()))
        yield chunk


def _speak(
    job: ChatJob, model: Model, text: Iterator[TextChunk], seed: int, events: EventStream
) -> Generator[None, None, tuple[float, tuple[str, ...]]]:
    """Speak an answer while it is generated; seconds of speech, and what was left out of it."""
    speech = model.speech(text, together="frames" in job.model.worker.together, voice=job.voice, seed=seed)
    spoken = events.watched(speech)
    if job.request.stream:
        told = 0
        for data in encoded(spoken, model.sample_rate, FORMATS[job.form]):
            if data:
                words = speech.stats.words[told:]
                told += len(words)
                events.put(ChatEvent(0, audio=data, words=words))
            yield
    else:
        import numpy as np

        pieces = [np.zeros(0, np.float32)]
        for piece in spoken:
            pieces.append(piece)
            yield
        events.put(ChatEvent(0, audio=encode(np.concatenate(pieces), model.sample_rate, FORMATS[job.form])))
    for _ in text:  # what follows the last sentence
        pass
    return speech.stats.seconds, tuple(speech.stats.losses)


def _refuse(notice: str) -> None:
    raise RequestError(notice.strip("()"), "send less audio, or fewer images")


def count(service: Service, job: ChatJob, piece: ChatEvent) -> None:
    """Add the end of a choice to the figures."""
    if piece.finish:
        service.figures.prompt_tokens.labels(job.model.id).inc(piece.prompt_tokens)
        service.figures.completion_tokens.labels(job.model.id).inc(piece.tokens)
        service.figures.spoken.labels(job.model.id).inc(piece.seconds)


def completion(service: Service, job: ChatJob, pieces: list[ChatEvent]) -> ChatCompletion:
    """The whole answer of a request that was not streamed."""
    choices = [Gathered() for _ in range(job.choices)]
    for piece in pieces:
        one = choices[piece.choice]
        one.text += piece.text
        one.audio += piece.audio
        one.last = piece if piece.finish else one.last
        count(service, job, piece)
    ends = [one.last for one in choices if one.last is not None]
    return ChatCompletion(
        id=job.id,
        created=job.created,
        model=job.model.id,
        choices=[
            _choice(job, number, one, one.last.finish) for number, one in enumerate(choices) if one.last is not None
        ],
        usage=usage_of(ends),
    )


def usage_of(ends: list[ChatEvent]) -> Usage:
    """Of all choices, which share one prompt."""
    prompt, made = max((end.prompt_tokens for end in ends), default=0), sum(end.tokens for end in ends)
    return Usage(prompt_tokens=prompt, completion_tokens=made, total_tokens=prompt + made)


def _choice(job: ChatJob, number: int, one: Gathered, finish: str) -> Choice:
    message = _message(job, one)
    if message.tool_calls and finish == "stop":
        finish = "tool_calls"
    return Choice(index=number, message=message, finish_reason=cast("Any", finish))


def _message(job: ChatJob, one: Gathered) -> AnswerMessage:
    if not job.form:
        return message_of(job.answer, one.text)
    data = base64.b64encode(one.audio).decode()
    audio = SpokenAnswer(id=audio_id(job), data=data, expires_at=job.created, transcript=one.text)
    return AnswerMessage(content=None, audio=audio)


def audio_id(job: ChatJob) -> str:
    """Name of the audio, which is not kept: it has expired when it is sent."""
    return job.id.replace("chatcmpl-", "audio_")


class ChunkWriter:
    """The server-sent events of a streamed answer."""

    def __init__(self, job: ChatJob) -> None:
        self._job = job
        self._ends: list[ChatEvent] = []
        self.tokens: list[int] = []  # of the first choice, if they are traced
        functions = job.answer.functions
        self._calls = [CallWriter(AnswerReader(functions)) for _ in range(job.choices)] if functions else []
        self._spoken: Callable[[dict[str, Any]], dict[str, Any]] = lambda audio: {
            "audio": {"id": audio_id(job), **audio}
        }

    def begin(self) -> bytes:
        """The role, for each choice."""
        start = {"role": "assistant", **({} if self._job.form or self._calls else {"content": ""})}
        return b"".join(self._chunk(choice, start) for choice in range(self._job.choices))

    def of(self, piece: ChatEvent) -> bytes:
        """The events of a piece."""
        made = self._chunk(piece.choice, {}, told={"trace": piece.trace}) if piece.trace else b""
        self.tokens += [one["id"] for one in piece.trace if piece.choice == 0]
        calls = self._calls[piece.choice] if self._calls else None
        if piece.text and calls is not None:
            made += b"".join(self._chunk(piece.choice, delta) for delta in calls.deltas(piece.text))
        elif piece.text:
            delta = self._spoken({"transcript": piece.text}) if self._job.form else {"content": piece.text}
            made += self._chunk(piece.choice, delta)
        if piece.audio:
            audio = self._spoken({"data": base64.b64encode(piece.audio).decode()})
            made += self._chunk(piece.choice, audio, told={"words": timed(piece.words)} if piece.words else {})
        if piece.finish:
            self._ends.append(piece)
            last = self._spoken({"expires_at": self._job.created}) if self._job.form else {}
            made += self._chunk(piece.choice, last, calls.finish(piece.finish) if calls is not None else piece.finish)
        return made

    def occlusion(self, values: list[list[float]] | None) -> bytes:
        """The event of a map of the last image."""
        return self._chunk(0, {}, told={"occlusion": values})

    def end(self) -> bytes:
        """The usage, if it was asked for."""
        if not self._job.tells_usage:
            return b""
        return sse({**self._head(), "choices": [], "usage": usage_of(self._ends).model_dump()})

    def _chunk(
        self, choice: int, delta: dict[str, Any], finish: str | None = None, *, told: Mapping[str, Any] | None = None
    ) -> bytes:
        """An event; ``told`` is not of OpenAI, and beside the delta, which clients gather."""
        usage = {"usage": None} if self._job.tells_usage else {}
        entry = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish, **(told or {})}
        return sse({**self._head(), "choices": [entry], **usage})

    def _head(self) -> dict[str, Any]:
        job = self._job
        return {"id": job.id, "object": "chat.completion.chunk", "created": job.created, "model": job.model.id}


ENDPOINTS = [
    Endpoint(
        "POST",
        "/v1/chat/completions",
        chat,
        "Answer a conversation with images and sounds, in text or spoken.",
        body=ChatRequest,
        answers={JSON: ChatCompletion, STREAM: EVENTS},
        errors=GENERATION_ERRORS,
    )
]
