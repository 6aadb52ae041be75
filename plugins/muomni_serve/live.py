"""One live conversation: audio in, turns cut out of it and recognized, answers streamed to the Talker, interruptions.

The engine below ``WS /v1/realtime`` and ``muomni talk``. It belongs to an event loop; models run in their worker's
thread. What happens is passed to ``emit`` as one of :data:`LiveEvent`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from muomni_cli import Model
from muomni_serve.errors import ApiError, from_failure
from muomni_serve.live_answer import AnswerPiece, AnswerSettings, answer_live
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
from muomni_serve.live_items import ItemPart, LiveItem, messages_of_items, new_id
from muomni_serve.turn_detection import RATE, TurnAudio, TurnDetector, TurnSettings, Wave, silero
from muomni_serve.turn_recognition import TurnRecognition, recording
from muomni_serve.worker import ModelWorker


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """Of a live conversation.

    Args:
        instructions: system message.
        answer: how answers are made.
        turns: how turns are detected; None if the caller tells, by :meth:`LiveConversation.commit`.
        responds: whether a detected turn is answered.
        interrupts: whether a turn that begins ends the answer that is being made.
        most_items: that are remembered.
    """

    instructions: str = ""
    answer: AnswerSettings = field(default_factory=AnswerSettings)
    turns: TurnSettings | None = field(default_factory=TurnSettings)
    responds: bool = True
    interrupts: bool = True
    most_items: int = 1000


def turn_ended(samples: Wave) -> bool | None:
    """What plugins say about a turn of samples (N,) in a pause."""
    return Model.turn_ended(samples, RATE)


class _Turn:
    """Audio that is not yet an item."""

    def __init__(self, worker: ModelWorker, transcribes: bool, emit: Callable[[LiveEvent], None]) -> None:
        self.id = new_id("item")
        self.samples = 0
        self._pieces: list[Wave] = []
        self.recognition = (
            TurnRecognition(worker, lambda text: emit(HeardDelta(self.id, text))) if transcribes else None
        )

    def push(self, samples: Wave) -> None:
        self.samples += samples.size
        if self.recognition is not None:
            self.recognition.push(samples)
        else:
            self._pieces.append(samples)

    @property
    def seconds(self) -> float:
        return self.samples / RATE

    def item(self) -> LiveItem:
        """As a message of the user."""
        part = ItemPart("input_audio")
        item = LiveItem("user", [part], id=self.id, seconds=self.seconds)
        if self.recognition is None:
            part.media = recording(np.concatenate([np.zeros(0, np.float32), *self._pieces]))
        else:
            item.await_transcript(self.recognition.finish())
        return item

    def abandon(self) -> None:
        if self.recognition is not None:
            self.recognition.abandon()


class LiveConversation:
    """A conversation with one model.

    Args:
        worker: of the model.
        abilities: of the model, see :attr:`muomni_cli.Model.capabilities`.
        sample_rate: of its speech, in Hz.
        emit: called with all that happens, in the event loop.
        settings: may be changed by :meth:`configure`.

    Raises:
        ApiError: the model neither transcribes nor listens, or cannot chat.
        MuomniError: turns are to be detected, and the package for it is not installed.
    """

    def __init__(
        self,
        worker: ModelWorker,
        abilities: Collection[str],
        sample_rate: int,
        emit: Callable[[LiveEvent], None],
        settings: LiveSettings | None = None,
    ) -> None:
        if "chat" not in abilities or not {"transcribe", "audio"} & set(abilities):
            message = "a live conversation needs a model that chats and understands speech"
            raise ApiError(400, message, param="model", code="unsupported_value")
        self._worker, self._emit, self.sample_rate = worker, emit, sample_rate
        self._transcribes = "transcribe" in abilities
        self.items: list[LiveItem] = []
        self.response: LiveResponse | None = None
        self._apart: set[LiveResponse] = set()  # answers that the conversation does not remember
        self._turn: _Turn | None = None
        self._waiting: asyncio.Task[None] | None = None  # for the transcript of a turn that is to be answered
        self._tasks: set[asyncio.Task[None]] = set()
        self._detector: TurnDetector | None = None
        self._since = 0.0  # seconds of audio before the detector was made
        self.settings = LiveSettings(turns=None)
        self.configure(settings or LiveSettings())

    def configure(self, settings: LiveSettings) -> None:
        """Change the settings. A turn that is being spoken is begun anew if turns are detected in another way.
        MuomniError as above."""
        if settings.turns != self.settings.turns:
            detector = TurnDetector(settings.turns, silero(), turn_ended) if settings.turns is not None else None
            self._since = self.heard_seconds
            self._detector = detector
            self.clear()
        self.settings = settings

    @property
    def heard_seconds(self) -> float:
        """Length of the audio that turns were looked for in."""
        return self._since + (self._detector.seconds if self._detector is not None else 0.0)

    @property
    def pending_seconds(self) -> float:
        """Length of the audio that is not an item yet."""
        return self._turn.seconds if self._turn is not None else 0.0

    def hear(self, samples: Wave) -> None:
        """Samples (n,) at 16 kHz of the microphone, cut anywhere."""
        if self._detector is None:
            self._current().push(samples)
            return
        for audio in self._detector.push(samples):
            self._take(audio)

    def _current(self) -> _Turn:
        if self._turn is None:
            self._turn = _Turn(self._worker, self._transcribes, self._emit)
        return self._turn

    def _take(self, audio: TurnAudio) -> None:
        turn = self._current()
        turn.push(audio.samples)
        at = self._since + audio.seconds
        if audio.begins:
            self._emit(TurnBegun(turn.id, max(0.0, at - turn.seconds)))
            if self.settings.interrupts:
                self._stop_waiting()
                if self.response is not None:
                    self.cancel("turn_detected")
        if audio.ends:
            self._emit(TurnEnded(turn.id, at))
            item = self.commit()
            if self.settings.responds:
                self._stop_waiting()
                self._waiting = self._start(self._answer_turn(item))

    def commit(self) -> LiveItem:
        """The audio so far is a turn. ApiError if there is none."""
        turn, self._turn = self._turn, None
        if turn is None or not turn.samples:
            raise ApiError(400, "the input audio buffer is empty: append audio first", code="input_audio_buffer_empty")
        if self._detector is not None:
            self._detector.end()
        item = turn.item()
        self.insert(item, spoken=True)
        if item.transcript is not None:
            self._start(self._transcribed(item))
        return item

    def clear(self) -> None:
        """Forget the audio that is not an item yet."""
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.abandon()
        if self._detector is not None:
            self._detector.end()

    def insert(self, item: LiveItem, after: str | None = None, *, spoken: bool = False) -> None:
        """Add an item: at the end, after another, or first (``root``). ApiError if there is no such item, its id is
        taken, or there are too many; for a turn that was ``spoken``, the oldest items are forgotten instead."""
        if any(one.id == item.id for one in self.items):
            raise ApiError(400, f"there is an item {item.id!r} already", param="item.id", code="invalid_value")
        if spoken:
            del self.items[: max(0, len(self.items) + 1 - self.settings.most_items)]
        if len(self.items) >= self.settings.most_items:
            message = f"the conversation has {len(self.items)} items, the most that are kept: delete some"
            raise ApiError(400, message, code="too_many_items")
        place = len(self.items) if after is None else 0 if after == "root" else self._place(after) + 1
        previous = self.items[place - 1].id if place else None
        self.items.insert(place, item)
        self._emit(ItemAdded(item, previous, spoken))

    def find(self, item_id: str) -> LiveItem:
        """An item. ApiError (404) if there is none of that id."""
        return self.items[self._place(item_id)]

    def delete(self, item_id: str) -> None:
        """Forget an item. ApiError (404) if there is none of that id."""
        del self.items[self._place(item_id)]

    def truncate(self, item_id: str, seconds: float) -> None:
        """Remember only what was heard in the first ``seconds`` of a spoken answer. ApiError if the item is none, or
        is shorter."""
        item = self.find(item_id)
        if item.role != "assistant" or item.parts[0].kind != "output_audio":
            raise ApiError(400, f"{item_id} is not a spoken answer", param="item_id", code="invalid_value")
        if seconds > item.seconds + 0.001:
            message = f"{item_id} is {1000 * item.seconds:.0f} ms long, so it cannot be cut at {1000 * seconds:.0f} ms"
            raise ApiError(400, message, param="audio_end_ms", code="invalid_value")
        if self.response is not None and self.response.item is item:
            self.cancel("client_cancelled")
        item.truncate(seconds)

    def recognize(self, samples: Wave, heard: Callable[[str], None]) -> asyncio.Future[str]:
        """The transcript of a recording (N,) at 16 kHz that is not a turn. ApiError if the model cannot transcribe."""
        if not self._transcribes:
            raise ApiError(400, "this model does not transcribe", code="unsupported_value")
        recognition = TurnRecognition(self._worker, heard)
        recognition.push(samples)
        return recognition.finish()

    def watch(self, item: LiveItem) -> None:
        """Wait for the transcript of an item that was inserted, and tell it."""
        self._start(self._transcribed(item))

    def respond(
        self,
        settings: AnswerSettings | None = None,
        instructions: str | None = None,
        items: list[LiveItem] | None = None,
        *,
        remembered: bool = True,
    ) -> LiveResponse:
        """Answer the conversation, or other ``items``. ApiError if an answer is being made, unless the new one is not
        ``remembered``."""
        if remembered and self.response is not None:
            message = f"the answer {self.response.id} is being made: wait for response.done, or cancel it"
            raise ApiError(400, message, code="conversation_already_has_active_response")
        settings = settings or self.settings.answer
        kind: Literal["output_audio", "output_text"] = "output_audio" if settings.spoken else "output_text"
        item = LiveItem("assistant", [ItemPart(kind)], status="in_progress")
        response = LiveResponse(item, settings, remembered)
        asked = list(self.items if items is None else items)
        previous = self.items[-1].id if self.items and remembered else None
        if remembered:
            self.response = response
            self.items.append(item)
        else:
            self._apart.add(response)
        self._emit(ResponseBegun(response, previous))
        told = self.settings.instructions if instructions is None else instructions
        response.task = self._start(self._make(response, asked, told))
        return response

    def cancel(self, reason: str = "client_cancelled", response_id: str | None = None) -> None:
        """End an answer: the one of that id, else that of the conversation. ApiError if none is being made."""
        active = [*([self.response] if self.response is not None else []), *self._apart]
        found = next((one for one in active if response_id in (None, one.id)), None)
        if found is None or (response_id is None and found is not self.response):
            raise ApiError(400, "no answer is being made", code="response_cancel_not_active")
        found.cancelled_by = reason
        if found.stream is not None:
            found.stream.cancel()
        elif found.task is not None:
            found.task.cancel()
        self._finish(found, "cancelled")

    async def close(self) -> None:
        """End everything."""
        self.clear()
        for response in [*([self.response] if self.response is not None else []), *self._apart]:
            response.cancelled_by = "client_cancelled"
            if response.stream is not None:
                response.stream.cancel()
        for task in list(self._tasks):
            task.cancel()
        for task in list(self._tasks):
            with suppress(asyncio.CancelledError):
                await task

    def _place(self, item_id: str) -> int:
        for place, item in enumerate(self.items):
            if item.id == item_id:
                return place
        raise ApiError(404, f"there is no item {item_id!r}", param="item_id", code="item_not_found")

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _stop_waiting(self) -> None:
        """A turn whose transcript is not there yet is answered together with the next one."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    async def _transcribed(self, item: LiveItem) -> None:
        """Tell the transcript of a turn."""
        assert item.transcript is not None
        try:
            await asyncio.shield(item.transcript)
        except ApiError as error:
            self._emit(HeardAll(item, item.seconds, error))
        else:
            self._emit(HeardAll(item, item.seconds))

    async def _answer_turn(self, item: LiveItem) -> None:
        """Answer a turn once its transcript is there, unless nothing was understood."""
        if item.transcript is not None:
            try:
                text = await asyncio.shield(item.transcript)
            except ApiError:
                return
            if not text.strip():
                return
        self._waiting = None
        if self.response is None:
            self.respond()

    async def _make(self, response: LiveResponse, items: list[LiveItem], instructions: str) -> None:
        try:
            waited = [one.transcript for one in items if one.transcript is not None]
            await asyncio.gather(*map(asyncio.shield, waited), return_exceptions=True)
            messages = messages_of_items(items, instructions)
            if not messages or messages[-1].role != "user":
                raise ApiError(400, "there is nothing to answer: add a user's message first", code="nothing_to_answer")
            seed = secrets.randbits(32) if response.settings.seed is None else response.settings.seed
            settings = response.settings
            response.stream = self._worker.submit(
                lambda model, events: answer_live(model, events, messages, settings, seed)
            )
            async for piece in response.stream:
                self._take_piece(response, piece)
        except Exception as error:
            response.error = from_failure(error)
            self._finish(response, "failed")
            return
        reached = response.end.finish in ("length", "context")
        self._finish(response, "incomplete" if reached else "completed")

    def _take_piece(self, response: LiveResponse, piece: AnswerPiece) -> None:
        if response.status != "in_progress":
            return
        item = response.item
        if piece.finish:
            response.end = piece
        if piece.text:
            item.parts[0].text += piece.text
            self._emit(ResponseText(response, piece.text))
        item.words += piece.words
        if piece.samples is not None:
            item.seconds += piece.samples.size / self.sample_rate
            self._emit(ResponseAudio(response, piece.samples))

    def _finish(
        self, response: LiveResponse, status: Literal["completed", "cancelled", "incomplete", "failed"]
    ) -> None:
        if response.status != "in_progress":
            return
        response.status = status
        item = response.item
        item.status = "completed" if status == "completed" else "incomplete"
        if self.response is response:
            self.response = None
            if not item.text and not item.seconds and item in self.items:
                self.items.remove(item)
        self._apart.discard(response)
        self._emit(ResponseEnded(response))
