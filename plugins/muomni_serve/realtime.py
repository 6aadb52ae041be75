"""``WS /v1/realtime``: a live conversation with the events of OpenAI's realtime interface.

A session belongs to one connection. Audio is 24 kHz mono, 16 bits, in both directions.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from muomni_cli.api import MuomniError
from muomni_cli.audio.dsp import ResamplingStream, resample
from muomni_cli.audio.encoding import PCM_RATE
from muomni_serve.errors import ApiError, from_failure
from muomni_serve.guard import error_response
from muomni_serve.live import LiveConversation
from muomni_serve.live_answer import warm_up
from muomni_serve.live_items import ItemPart, LiveItem
from muomni_serve.media import image_of
from muomni_serve.realtime_answers import AnswerWriter, new_event, rendered
from muomni_serve.realtime_events import (
    AudioAppend,
    ClientEvent,
    ItemCreate,
    ItemOf,
    ItemReference,
    ItemTruncate,
    MessageItem,
    RealtimeSession,
    ResponseCancel,
    ResponseCreate,
    ResponseSettings,
    SessionUpdate,
    client_event,
    limit_of,
)
from muomni_serve.service import ServedModel, Service
from muomni_serve.turn_detection import RATE, Wave
from muomni_serve.turn_recognition import recording, samples_of

LOG = logging.getLogger("muomni.serve")
MOST_UNREAD = 2000  # events that a client has not read, above which nothing is read of it
SLICE = RATE // 10  # samples that are listened to before others have their turn


async def realtime(websocket: WebSocket) -> None:
    """Serve one connection."""
    service: Service = websocket.app.state.service
    try:
        model = _model_of(service, websocket)
        if service.live_sessions >= service.settings.queue:
            raise ApiError(
                429, f"{service.live_sessions} sessions are open already: try again later", code="queue_full"
            )
        session = RealtimeConnection(service, model, websocket)
    except Exception as error:
        await websocket.send_denial_response(error_response(from_failure(error)))
        return
    protocols = [one for one in websocket.scope.get("subprotocols", ()) if one == "realtime"]
    await websocket.accept(subprotocol=protocols[0] if protocols else None)
    service.live_sessions += 1
    try:
        await session.run()
    finally:
        service.live_sessions -= 1
        await session.close()


def _model_of(service: Service, websocket: WebSocket) -> ServedModel:
    name = websocket.query_params.get("model")
    if name is None:
        message = f"the model is missing: connect to /v1/realtime?model={next(iter(service.models))}"
        raise ApiError(400, message, param="model", code="missing_required_parameter")
    model = service.model(name)
    model.require("speak", "speak")
    return model


class RealtimeConnection:
    """One session over a WebSocket."""

    def __init__(self, service: Service, model: ServedModel, websocket: WebSocket) -> None:
        self._service, self._model, self._socket = service, model, websocket
        self._outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.session = RealtimeSession(model=model.id, instructions="")
        self._answers = AnswerWriter(self._send, self.session, model.entry.sample_rate or RATE)
        self._incoming = ResamplingStream(PCM_RATE, RATE)
        self._half = b""  # of a sample
        entry = model.entry
        self.conversation = LiveConversation(
            model.worker, entry.capabilities, entry.sample_rate or RATE, self._answers.tell, self.session.settings
        )
        with suppress(MuomniError):  # without the package for it, clients tell the ends of turns
            self._change(
                RealtimeSession.model_validate({"audio": {"input": {"turn_detection": {"type": "server_vad"}}}})
            )
        self._handlers: Mapping[str, Callable[[Any], Any]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create_item,
            "conversation.item.retrieve": self._retrieve,
            "conversation.item.truncate": self._truncate,
            "conversation.item.delete": self._delete,
            "response.create": self._respond,
            "response.cancel": self._cancel,
        }

    async def run(self) -> None:
        """Until the client hangs up."""
        self._send(new_event("session.created", session=self._described()))
        sending = asyncio.create_task(self._deliver())
        warming = None if self._model.worker.loaded else asyncio.create_task(self._warm_up())
        try:
            while True:
                await self._take(await self._socket.receive())
        except WebSocketDisconnect:
            pass
        finally:
            for task in (sending, warming):
                if task is not None:
                    task.cancel()
                    with suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                        await task

    async def _warm_up(self) -> None:
        """The first of all sessions loads the model before somebody waits for it."""
        with suppress(ApiError):  # told when an answer fails
            await warm_up(self._model.worker)

    async def close(self) -> None:
        """End what is being made."""
        await self.conversation.close()

    def _send(self, event: dict[str, Any]) -> None:
        self._outgoing.put_nowait(event)

    async def _deliver(self) -> None:
        while True:
            event = await self._outgoing.get()
            await self._socket.send_text(json.dumps(event, ensure_ascii=False, separators=(",", ":")))

    async def _take(self, message: Mapping[str, Any]) -> None:
        """Handle one message of the client; what is wrong with it is told in an error event."""
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        while self._outgoing.qsize() > MOST_UNREAD:
            await asyncio.sleep(0.05)
        named: object = None
        try:
            try:
                given = json.loads(message.get("text") or (message.get("bytes") or b"").decode())
            except (ValueError, RecursionError) as error:
                raise ApiError(400, "the message is not JSON", code="invalid_json") from error
            named = given.get("event_id") if isinstance(given, dict) else None
            event = client_event(given)
            made = self._handlers[event.type](event)
            if asyncio.iscoroutine(made):
                await made
        except Exception as error:
            failure = from_failure(error)
            if failure.status >= 500 and not isinstance(error, ApiError | MuomniError):
                LOG.exception("a realtime event failed")
            detail = {**failure.body["error"], "event_id": named if isinstance(named, str) else None}
            self._send(new_event("error", error=detail))

    def _described(self) -> dict[str, Any]:
        shown = self.session.model_dump(exclude={"parallel_tool_calls", "prompt", "include"})
        return {**shown, "object": "realtime.session", "id": self._answers.session_id}

    def _update(self, event: SessionUpdate) -> None:
        self._change(event.session)
        self._send(new_event("session.updated", session=self._described()))

    def _change(self, given: RealtimeSession) -> None:
        """Change the session, or nothing. ApiError or MuomniError if that is not possible."""
        after = self.session.updated(given)
        if after.model != self._model.id:
            raise ApiError(400, "the model of a session cannot be changed: open another", param="session.model",
                           code="invalid_value")  # fmt: skip
        self._model.voice(after.audio.output.voice, "session.audio.output.voice")
        told = after.audio.input.transcription
        if told is not None:
            self._check_transcription(told.model, told.language)
        self.conversation.configure(after.settings)
        self.session = self._answers.session = after

    def _check_transcription(self, model: str | None, language: str | None) -> None:
        where = "session.audio.input.transcription"
        self._model.require("transcribe", "transcribe")
        if model not in (None, self._model.id):
            message = f"{where}.model: the model of the session transcribes, which is {self._model.id}"
            raise ApiError(400, message, param=f"{where}.model", code="invalid_value")
        if language not in (None, known := self._service.settings.language):
            raise ApiError(400, f"{where}.language: transcripts are in {known!r}", param=f"{where}.language",
                           code="unsupported_value")  # fmt: skip

    async def _append(self, event: AudioAppend) -> None:
        pcm = self._half + _decoded(event.audio, "audio")
        self._half = pcm[len(pcm) // 2 * 2 :]
        samples = self._incoming.push(samples_of(pcm[: len(pcm) // 2 * 2]))
        most = self._service.settings.max_audio
        if self.conversation.pending_seconds + samples.size / RATE > most:
            message = f"the input audio buffer would be longer than {most:g} seconds, the most that is taken: commit it"
            raise ApiError(400, message, param="audio", code="audio_too_long")
        for begin in range(0, samples.size, SLICE):
            self.conversation.hear(samples[begin : begin + SLICE])
            await asyncio.sleep(0)

    def _commit(self, _: ClientEvent) -> None:
        self.conversation.hear(self._flushed())
        self.conversation.commit()

    def _clear(self, _: ClientEvent) -> None:
        self._flushed()
        self.conversation.clear()
        self._send(new_event("input_audio_buffer.cleared"))

    def _flushed(self) -> Wave:
        """The last samples of the input so far; more audio begins anew."""
        self._half = b""
        return self._incoming.finish()

    def _create_item(self, event: ItemCreate) -> None:
        item = self._item(event.item, "item")
        self.conversation.insert(item, event.previous_item_id)
        if item.transcript is not None:
            self.conversation.watch(item)

    def _item(self, given: MessageItem, where: str) -> LiveItem:
        """The item of a message. ApiError if something in it cannot be used."""
        allowed = {"user": "input_", "system": "input_text", "assistant": "output_"}[given.role]
        parts, audio = [], None
        for place, part in enumerate(given.content):
            at = f"{where}.content[{place}]"
            if not part.type.startswith(allowed):
                raise ApiError(400, f"{at}: a {given.role} message has no {part.type}", param=f"{at}.type",
                               code="invalid_value")  # fmt: skip
            value = {"input_audio": part.audio, "input_image": part.image_url}.get(part.type, part.text)
            value = part.transcript if part.type == "output_audio" else value
            if value is None:
                raise ApiError(400, f"{at} has no content", param=at, code="missing_required_parameter")
            made = ItemPart(part.type)
            if part.type == "input_image":
                self._model.require("image", "take images")
                made.media = image_of(value, f"{at}.image_url", self._service.settings.max_pixels)
            elif part.type == "input_audio":
                if audio is not None:
                    raise ApiError(400, f"{at}: a message has one audio", param=at, code="unsupported_value")
                audio = resample(samples_of(_whole(_decoded(value, f"{at}.audio"))), PCM_RATE, RATE)
            else:
                made.text = value
            parts.append(made)
        item = LiveItem(given.role, parts)
        item.id = given.id or item.id
        if audio is not None:
            self._listen(item, audio)
        return item

    def _listen(self, item: LiveItem, audio: Wave) -> None:
        item.seconds = audio.size / RATE
        if "transcribe" in self._model.entry.capabilities:
            heard = self._answers.heard(item.id)
            item.await_transcript(self.conversation.recognize(audio, heard))
        else:
            next(part for part in item.parts if part.kind == "input_audio").media = recording(audio)

    def _retrieve(self, event: ItemOf) -> None:
        item = rendered(self.conversation.find(event.item_id))
        self._send(new_event("conversation.item.retrieved", item=item))

    def _truncate(self, event: ItemTruncate) -> None:
        self.conversation.truncate(event.item_id, event.audio_end_ms / 1000)
        told = {"item_id": event.item_id, "content_index": 0, "audio_end_ms": event.audio_end_ms}
        self._send(new_event("conversation.item.truncated", **told))

    def _delete(self, event: ItemOf) -> None:
        self.conversation.delete(event.item_id)
        self._send(new_event("conversation.item.deleted", item_id=event.item_id))

    def _respond(self, event: ResponseCreate) -> None:
        asked = event.response or ResponseSettings()
        settings = self.session.settings.answer
        if asked.output_modalities is not None:
            settings = replace(settings, spoken=asked.output_modalities == ["audio"])
        if asked.max_output_tokens is not None:
            settings = replace(settings, max_tokens=limit_of(asked.max_output_tokens))
        if asked.audio is not None and asked.audio.output is not None and asked.audio.output.voice is not None:
            voice = self._model.voice(asked.audio.output.voice, "response.audio.output.voice")
            settings = replace(settings, voice=voice)
        items = None
        if asked.input is not None:
            items = [
                self.conversation.find(one.id)
                if isinstance(one, ItemReference)
                else self._item(one, f"response.input[{place}]")
                for place, one in enumerate(asked.input)
            ]
        self._answers.metadata = asked.metadata
        try:
            self.conversation.respond(settings, asked.instructions, items, remembered=asked.conversation != "none")
        finally:
            self._answers.metadata = None

    def _cancel(self, event: ResponseCancel) -> None:
        self.conversation.cancel("client_cancelled", event.response_id)


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError(400, f"{where} is not base64: {error}", param=where, code="invalid_value") from error


def _whole(pcm: bytes) -> bytes:
    return pcm[: len(pcm) // 2 * 2]


ROUTES = [WebSocketRoute("/v1/realtime", realtime)]
