"""What happens in a live conversation."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from muomni_serve.errors import ApiError
from muomni_serve.live_answer import AnswerPiece, AnswerSettings
from muomni_serve.live_items import LiveItem, new_id
from muomni_serve.turn_detection import Wave
from muomni_serve.worker import EventStream


@dataclass(slots=True, eq=False)
class LiveResponse:
    """An answer. ``cancelled_by``: ``turn_detected`` or ``client_cancelled``. ``remembered``: whether its item belongs
    to the conversation."""

    item: LiveItem
    settings: AnswerSettings
    remembered: bool = True
    id: str = field(default_factory=lambda: new_id("resp"))
    status: Literal["in_progress", "completed", "cancelled", "incomplete", "failed"] = "in_progress"
    cancelled_by: str = ""
    error: ApiError | None = None
    end: AnswerPiece = field(default_factory=AnswerPiece)
    stream: EventStream | None = None
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class TurnBegun:
    """Somebody began to speak, ``seconds`` after the beginning of the audio."""

    item_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn is over, ``seconds`` after the beginning of the audio."""

    item_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ItemAdded:
    """An item is in the conversation, after the item ``previous``. ``spoken``: it is a turn that was heard."""

    item: LiveItem
    previous: str | None
    spoken: bool = False


@dataclass(frozen=True, slots=True)
class HeardDelta:
    """A further piece of the transcript of a turn; turns that are not over yet have them too."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class HeardAll:
    """The transcript of a turn, or why there is none."""

    item: LiveItem
    seconds: float
    error: ApiError | None = None


@dataclass(frozen=True, slots=True)
class ResponseBegun:
    """An answer begins. ``previous``: the item before its own."""

    response: LiveResponse
    previous: str | None


@dataclass(frozen=True, slots=True)
class ResponseText:
    """A piece of the text of an answer."""

    response: LiveResponse
    text: str


@dataclass(frozen=True, slots=True)
class ResponseAudio:
    """Samples (n,) of an answer, at the model's rate."""

    response: LiveResponse
    samples: Wave


@dataclass(frozen=True, slots=True)
class ResponseEnded:
    """An answer is complete, or was ended."""

    response: LiveResponse


LiveEvent = (
    TurnBegun | TurnEnded | ItemAdded | HeardDelta | HeardAll | ResponseBegun | ResponseText | ResponseAudio
    | ResponseEnded
)  # fmt: skip
