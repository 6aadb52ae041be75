"""What the server of ``WS /v1/realtime`` sends: the events of OpenAI's interface for what happens in a conversation."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from muomni_cli.audio.dsp import ResamplingStream
from muomni_cli.audio.encoding import PCM_RATE, as_bytes
from muomni_serve.errors import ApiError
from muomni_serve.live_events import (
    HeardAll,
    HeardDelta,
    ItemAdded,
    LiveEvent,
    LiveResponse,
    ResponseAudio,
    ResponseBegun,
    ResponseEnded,
    ResponseText,
    TurnBegun,
    TurnEnded,
)
from muomni_serve.live_items import ItemPart, LiveItem, new_id
from muomni_serve.realtime_events import RealtimeSession
from muomni_serve.turn_detection import Wave

Send = Callable[[dict[str, Any]], None]


def new_event(kind: str, **fields: Any) -> dict[str, Any]:
    """An event with an id of its own."""
    return {"type": kind, "event_id": new_id("event"), **fields}


def rendered(item: LiveItem) -> dict[str, Any]:
    """An item as clients know it. Audio and images are not sent back."""
    return {
        "id": item.id,
        "object": "realtime.item",
        "type": "message",
        "status": item.status,
        "role": item.role,
        "content": [_part(part) for part in item.parts],
    }


def _part(part: ItemPart) -> dict[str, Any]:
    if part.kind == "input_image":
        return {"type": part.kind}
    return {"type": part.kind, "transcript" if part.kind.endswith("audio") else "text": part.text}


class _Answer:
    """What was sent of one answer."""

    def __init__(
        self, response: LiveResponse, previous: str | None, metadata: dict[str, str] | None, rate: int
    ) -> None:
        self.response, self.previous, self.metadata = response, previous, metadata
        self.spoken = response.settings.spoken
        self.resampling = ResamplingStream(rate, PCM_RATE)
        self.begun = False

    @property
    def place(self) -> dict[str, Any]:
        """Where a piece of it belongs."""
        ids = {"response_id": self.response.id, "item_id": self.response.item.id}
        return {**ids, "output_index": 0, "content_index": 0}

    def part(self, text: str) -> dict[str, Any]:
        return {"type": "audio", "transcript": text} if self.spoken else {"type": "text", "text": text}


class AnswerWriter:
    """Turns what happens into events.

    Args:
        send: takes events.
        session: whose settings are told.
        rate: sample rate of the speech, in Hz.
    """

    def __init__(self, send: Send, session: RealtimeSession, rate: int) -> None:
        self._send, self.session, self._rate = send, session, rate
        self.session_id, self.conversation_id = new_id("sess"), new_id("conv")
        self.metadata: dict[str, str] | None = None  # of the answer that begins next
        self._answers: dict[str, _Answer] = {}

    def tell(self, event: LiveEvent) -> None:
        """Send the events for something that happened."""
        if isinstance(event, TurnBegun):
            at = round(1000 * event.seconds)
            self._send(new_event("input_audio_buffer.speech_started", item_id=event.item_id, audio_start_ms=at))
        elif isinstance(event, TurnEnded):
            at = round(1000 * event.seconds)
            self._send(new_event("input_audio_buffer.speech_stopped", item_id=event.item_id, audio_end_ms=at))
        elif isinstance(event, ItemAdded):
            self._added(event)
        elif isinstance(event, HeardDelta):
            self.heard(event.item_id)(event.text)
        elif isinstance(event, HeardAll):
            self._transcribed(event)
        elif isinstance(event, ResponseBegun):
            self._begun(event)
        elif isinstance(event, ResponseText):
            self._text(event)
        elif isinstance(event, ResponseAudio):
            self._audio(self._open(event.response), event.samples)
        elif isinstance(event, ResponseEnded):
            self._ended(event.response)

    def heard(self, item_id: str) -> Callable[[str], None]:
        """A function that sends a further piece of the transcript of an item, if the client wants transcripts."""

        def send(text: str) -> None:
            if self.session.audio.input.transcription is not None:
                kind = "conversation.item.input_audio_transcription.delta"
                self._send(new_event(kind, item_id=item_id, content_index=0, delta=text))

        return send

    def _added(self, event: ItemAdded) -> None:
        if event.spoken:
            told = {"previous_item_id": event.previous, "item_id": event.item.id}
            self._send(new_event("input_audio_buffer.committed", **told))
        for kind in ("conversation.item.added", "conversation.item.done"):
            self._send(new_event(kind, previous_item_id=event.previous, item=rendered(event.item)))

    def _transcribed(self, event: HeardAll) -> None:
        place = next(number for number, part in enumerate(event.item.parts) if part.kind == "input_audio")
        told: dict[str, Any] = {"item_id": event.item.id, "content_index": place}
        kind = "conversation.item.input_audio_transcription."
        if event.error is not None:
            error = {key: value for key, value in event.error.body["error"].items() if key != "event_id"}
            self._send(new_event(f"{kind}failed", **told, error=error))
        elif self.session.audio.input.transcription is not None:
            usage = {"type": "duration", "seconds": round(event.seconds, 3)}
            self._send(new_event(f"{kind}completed", **told, transcript=event.item.text, usage=usage))

    def _begun(self, event: ResponseBegun) -> None:
        answer = _Answer(event.response, event.previous, self.metadata, self._rate)
        self._answers[event.response.id] = answer
        self._send(new_event("response.created", response=self._described(answer)))

    def _open(self, response: LiveResponse) -> _Answer:
        """The answer, whose item is told before the first piece of it."""
        answer = self._answers[response.id]
        if not answer.begun:
            answer.begun = True
            item = {**rendered(response.item), "content": []}
            place = answer.place
            self._send(new_event("response.output_item.added", response_id=response.id, output_index=0, item=item))
            if response.remembered:
                self._send(new_event("conversation.item.added", previous_item_id=answer.previous, item=item))
            self._send(new_event("response.content_part.added", **place, part=answer.part("")))
        return answer

    def _text(self, event: ResponseText) -> None:
        answer = self._open(event.response)
        kind = "response.output_audio_transcript.delta" if answer.spoken else "response.output_text.delta"
        self._send(new_event(kind, **answer.place, delta=event.text))

    def _audio(self, answer: _Answer, samples: Wave) -> None:
        self._pcm(answer, answer.resampling.push(samples))

    def _pcm(self, answer: _Answer, samples: Wave) -> None:
        if samples.size:
            delta = base64.b64encode(as_bytes(samples)).decode()
            self._send(new_event("response.output_audio.delta", **answer.place, delta=delta))

    def _ended(self, response: LiveResponse) -> None:
        answer = self._answers.pop(response.id)
        if answer.begun:
            item = rendered(response.item)
            text = response.item.parts[0].text
            if answer.spoken:
                if response.status != "cancelled":
                    self._pcm(answer, answer.resampling.finish())
                self._send(new_event("response.output_audio.done", **answer.place))
                self._send(new_event("response.output_audio_transcript.done", **answer.place, transcript=text))
            else:
                self._send(new_event("response.output_text.done", **answer.place, text=text))
            self._send(new_event("response.content_part.done", **answer.place, part=answer.part(text)))
            place = {"response_id": response.id, "output_index": 0}
            self._send(new_event("response.output_item.done", **place, item=item))
            if response.remembered:
                self._send(new_event("conversation.item.done", previous_item_id=answer.previous, item=item))
        self._send(new_event("response.done", response=self._described(answer)))

    def _described(self, answer: _Answer) -> dict[str, Any]:
        response, settings = answer.response, answer.response.settings
        done = response.status != "in_progress"
        output = self.session.audio.output.model_dump(include={"format"})
        return {
            "id": response.id,
            "object": "realtime.response",
            "status": response.status,
            "status_details": _details(response),
            "output": [rendered(response.item)] if done and answer.begun else [],
            "conversation_id": self.conversation_id if response.remembered else None,
            "output_modalities": ["audio" if settings.spoken else "text"],
            "max_output_tokens": settings.max_tokens or "inf",
            "audio": {"output": {**output, "voice": settings.voice}},
            "metadata": answer.metadata,
            "usage": _usage(response) if done else None,
        }


def _details(response: LiveResponse) -> dict[str, Any] | None:
    if response.status in ("in_progress", "completed"):
        return None
    found: dict[str, Any] = {"type": response.status}
    if response.status == "cancelled":
        found["reason"] = response.cancelled_by
    elif response.status == "incomplete":
        found["reason"] = "max_output_tokens"
    elif isinstance(response.error, ApiError):
        error = response.error.body["error"]
        found["error"] = {key: error[key] for key in ("type", "code", "message")}
    return found


def _usage(response: LiveResponse) -> dict[str, Any]:
    end = response.end
    made = end.tokens + end.frames
    return {
        "total_tokens": end.prompt_tokens + made,
        "input_tokens": end.prompt_tokens,
        "output_tokens": made,
        "input_token_details": {"text_tokens": end.prompt_tokens, "audio_tokens": 0, "cached_tokens": 0},
        "output_token_details": {"text_tokens": end.tokens, "audio_tokens": end.frames},
    }
