"""What the model does for one answer of a live conversation: text, and speech with the times of its words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli import Model
from muomni_cli.api import Message, RequestError, TextChunk, Word
from muomni_serve.worker import EventStream, ModelWorker

WARM = 16_000  # samples, and their rate
LEAST_ROOM = 64  # tokens of the context that an answer finds, if the conversation can be shortened


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """How an answer is made; what is None is as in the model's recipe.

    Args:
        spoken: whether it is spoken.
        voice: see :meth:`muomni_cli.Model.speech`.
        speed: see :meth:`muomni_cli.Model.speech`.
        max_tokens: of the text.
        seed: of text and speech; None for another one each time.
    """

    spoken: bool = True
    voice: str | None = None
    speed: float = 1.0
    max_tokens: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class AnswerPiece:
    """What was made: text, samples (n,) at the model's rate, words that are complete with them, or the end."""

    text: str = ""
    samples: NDArray[Any] | None = None
    words: tuple[Word, ...] = ()
    finish: str = ""
    prompt_tokens: int = 0
    tokens: int = 0
    frames: int = 0
    losses: tuple[str, ...] = field(default=())


def answer_live(
    model: Model, events: EventStream, messages: list[Message], settings: AnswerSettings, seed: int
) -> None:
    """In the model's thread: answer a conversation. The oldest turns are left out if it does not fit the context.
    RequestError if the rest does not fit, or something in it cannot be used."""
    reply = _fitted(model, messages, settings, seed)
    frames = 0
    losses: tuple[str, ...] = ()
    if settings.spoken:
        text = _told(reply, events)
        speech = model.speech(text, voice=settings.voice, speed=settings.speed, seed=seed)
        told = 0
        for samples in speech:
            words = speech.stats.words
            events.put(AnswerPiece(samples=samples, words=tuple(words[told:])))
            told = len(words)
        for _ in text:  # what follows the last sentence
            pass
        events.put(AnswerPiece(words=tuple(speech.stats.words[told:])))
        frames, losses = speech.stats.frames, tuple(speech.stats.losses)
    else:
        for _ in _told(reply, events):
            pass
    answer = reply.answer
    events.put(
        AnswerPiece(
            finish=str(answer.finish),
            prompt_tokens=reply.prompt_tokens,
            tokens=len(answer.tokens),
            frames=frames,
            losses=losses,
        )
    )


def _told(reply: Any, events: EventStream) -> Iterator[TextChunk]:
    """The pieces of a reply, each passed on as text before it is spoken."""
    for chunk in reply:
        events.put(AnswerPiece(text=chunk.text))
        yield chunk


def _fitted(model: Model, messages: list[Message], settings: AnswerSettings, seed: int) -> Any:
    """A reply to ``messages``, without as many of the oldest as leave no room for it."""
    kept = list(messages)
    options: dict[str, Any] = {"max_tokens": settings.max_tokens, "seed": seed, "hidden": settings.spoken}
    while True:
        first = 1 if kept and kept[0].role == "system" else 0
        droppable = next((place for place in range(first + 1, len(kept)) if kept[place].role == "user"), None)
        try:
            reply = model.reply(kept, **options)
        except RequestError:
            if droppable is None:
                raise
        else:
            room = min(LEAST_ROOM, settings.max_tokens or LEAST_ROOM, reply.context // 2)
            if droppable is None or reply.context - reply.prompt_tokens >= room:
                return reply
        del kept[first:droppable]


async def warm_up(worker: ModelWorker) -> None:
    """Load what a conversation needs, so that its first answer does not wait for it. ApiError if that fails."""

    def once(model: Model, events: EventStream) -> None:
        able = model.capabilities
        if "transcribe" in able:
            list(model.words_of_pieces([np.zeros(WARM, np.float32)], WARM))
        asked = Message("user", "hello")
        reply = model.reply([asked], hidden="speak" in able, max_tokens=1)
        text = [TextChunk("one ", chunk.hidden) for chunk in reply] or [TextChunk("one")]
        if "speak" in able:
            for _ in events.watched(model.speech(text)):
                pass

    stream = worker.submit(once)
    try:
        async for _ in stream:
            pass
    finally:
        stream.cancel()
