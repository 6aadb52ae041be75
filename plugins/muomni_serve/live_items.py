"""The items of a live conversation: what was said, and how much of it was heard."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from muomni_cli.api import Media, Message, Word

Role = Literal["system", "user", "assistant"]
PartKind = Literal["input_text", "input_audio", "input_image", "output_text", "output_audio"]
CLOSING = re.compile(r"[^\w\s]+")  # what follows a word without a space is heard with it


@dataclass(slots=True)
class ItemPart:
    """A part of an item. ``text``: the text, or what is said in audio; ``media``: what the model is shown of it."""

    kind: PartKind
    text: str = ""
    media: Media | None = None


@dataclass(slots=True, eq=False)
class LiveItem:
    """A message of a live conversation.

    Args:
        role: who says it.
        parts: of the content.
        id: made up if none is given.
        status: ``in_progress`` while it is made, ``incomplete`` if it was interrupted.
        seconds: length of its speech.
        words: of its speech, with their times.
        transcript: to wait for, while audio of it is being recognized.
    """

    role: Role
    parts: list[ItemPart]
    id: str = field(default_factory=lambda: new_id("item"))
    status: Literal["completed", "incomplete", "in_progress"] = "completed"
    seconds: float = 0.0
    words: list[Word] = field(default_factory=list)
    transcript: asyncio.Future[str] | None = None

    @property
    def text(self) -> str:
        """All text of it, a line for each part."""
        return "\n".join(part.text for part in self.parts if part.text.strip())

    @property
    def media(self) -> tuple[Media, ...]:
        """What the model is shown besides the text."""
        return tuple(part.media for part in self.parts if part.media is not None)

    def await_transcript(self, transcript: asyncio.Future[str]) -> None:
        """Its audio is being recognized: the text is filled in before anybody else who waits for it goes on."""
        self.transcript = transcript
        part = next(one for one in self.parts if one.kind == "input_audio")

        def fill(found: asyncio.Future[str]) -> None:
            if not found.cancelled() and found.exception() is None:
                part.text = found.result()

        transcript.add_done_callback(fill)

    def truncate(self, seconds: float) -> None:
        """Keep what is heard in the first ``seconds`` of its speech."""
        part = self.parts[0]
        part.text = heard_text(part.text, self.words, seconds, self.seconds)
        self.words = [word for word in self.words if word.end <= seconds]
        self.seconds = min(seconds, self.seconds)
        self.status = "incomplete"


def new_id(kind: str) -> str:
    """A name that nothing else has, such as ``item_…``."""
    return f"{kind}_{secrets.token_hex(10)}"


def heard_text(text: str, words: Sequence[Word], seconds: float, length: float) -> str:
    """The beginning of ``text`` that was heard in ``seconds`` of its speech, which ends with a whole word.

    Args:
        text: what is spoken.
        words: of it, as they are written, with their times in seconds.
        seconds: that were heard.
        length: of the speech, in seconds. Without ``words``, it is spread over the text evenly.
    """
    if not words:
        if seconds >= length:
            return text
        place = int(len(text) * max(0.0, seconds) / length)
        return text[: text.rfind(" ", 0, place + 1) + 1].rstrip()
    end = 0
    for word in words:
        if word.end > seconds:
            return text[:end]
        place = text.find(word.text, end)
        if place >= 0:
            end = place + len(word.text)
            closing = CLOSING.match(text, end)
            end = closing.end() if closing else end
    return text[:end] if seconds < length else text


def messages_of_items(items: Iterable[LiveItem], instructions: str) -> list[Message]:
    """The conversation for a model: all system texts first, items of a user that follow one another as one message."""
    shown = [item for item in items if item.text or item.media]
    system = [*([instructions] if instructions.strip() else []), *(one.text for one in shown if one.role == "system")]
    found: list[Message] = [Message("system", "\n".join(system))] if system else []
    for item in shown:
        if item.role == "system":
            continue
        if found and found[-1].role == item.role == "user":
            last = found.pop()
            text = "\n".join(one for one in (last.text, item.text) if one)
            found.append(Message("user", text, (*last.media, *item.media)))
        else:
            found.append(Message(item.role, item.text, item.media))
    return found
