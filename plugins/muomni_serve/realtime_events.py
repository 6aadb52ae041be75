"""What a client of ``WS /v1/realtime`` sends: the events of OpenAI's interface, and the session that they change.

Everything that is not supported is refused by name, unless its value changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from muomni_serve.errors import ApiError, from_validation
from muomni_serve.live import LiveSettings
from muomni_serve.live_answer import AnswerSettings
from muomni_serve.requests import RequestModel
from muomni_serve.turn_detection import TurnSettings

MOST_ID = 64  # characters


class PcmFormat(RequestModel):
    """16-bit little-endian mono at 24 kHz, the only format of audio here."""

    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[24000] | None = 24000


class TranscriptionSettings(RequestModel):
    """Whether transcripts of turns are told; the session's model makes them."""

    model: str | None = None
    language: str | None = None


class ServerVad(RequestModel):
    """How the server detects turns."""

    type: Literal["server_vad"]
    threshold: float = Field(0.5, ge=0, le=1)
    prefix_padding_ms: int = Field(300, ge=0, le=5000)
    silence_duration_ms: int = Field(500, ge=50, le=10_000)
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: None = None


class InputAudio(RequestModel):
    """The audio of the user."""

    format: PcmFormat | None = Field(default_factory=PcmFormat)
    transcription: TranscriptionSettings | None = None
    noise_reduction: None = None
    turn_detection: ServerVad | None = None


class OutputAudio(RequestModel):
    """The speech of the model."""

    format: PcmFormat | None = Field(default_factory=PcmFormat)
    voice: str | None = None
    speed: float = Field(1.0, ge=0.5, le=2)


class SessionAudio(RequestModel):
    """Audio in and out."""

    input: InputAudio = Field(default_factory=InputAudio)
    output: OutputAudio = Field(default_factory=OutputAudio)


Modalities = Annotated[list[Literal["text", "audio"]], Field(min_length=1, max_length=1)]
MaxTokens = Annotated[int, Field(ge=1, le=4096)] | Literal["inf"]


class RealtimeSession(RequestModel):
    """The settings of a session; of an update, those that are given."""

    type: Literal["realtime"] = "realtime"
    model: str | None = None
    output_modalities: Modalities = ["audio"]  # noqa: RUF012 - pydantic copies it
    instructions: str = Field("", max_length=100_000)
    audio: SessionAudio = Field(default_factory=SessionAudio)
    max_output_tokens: MaxTokens = "inf"
    tools: Annotated[list[Any], Field(max_length=0)] = []  # noqa: RUF012
    tool_choice: Literal["auto", "none"] = "auto"
    parallel_tool_calls: bool | None = None
    tracing: None = None
    truncation: Literal["auto"] = "auto"
    prompt: None = None
    include: Annotated[list[Any], Field(max_length=0)] | None = None

    def updated(self, given: RealtimeSession) -> RealtimeSession:
        """This session with what ``given`` sets; turn detection is replaced as a whole."""
        patch = given.model_dump(exclude_unset=True)
        return RealtimeSession.model_validate(_merged(self.model_dump(), patch))

    @property
    def settings(self) -> LiveSettings:
        """For the conversation."""
        turns = self.audio.input.turn_detection
        return LiveSettings(
            instructions=self.instructions,
            answer=AnswerSettings(
                spoken=self.output_modalities == ["audio"],
                voice=self.audio.output.voice,
                speed=self.audio.output.speed,
                max_tokens=limit_of(self.max_output_tokens),
            ),
            turns=None
            if turns is None
            else TurnSettings(turns.threshold, turns.prefix_padding_ms / 1000, turns.silence_duration_ms / 1000),
            responds=turns is not None and turns.create_response,
            interrupts=turns is not None and turns.interrupt_response,
        )


def limit_of(tokens: int | Literal["inf"] | None) -> int | None:
    """As :class:`AnswerSettings` has it."""
    return tokens if isinstance(tokens, int) else None


def _merged(before: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """``before`` with the values of ``patch``, table by table."""
    for name, value in patch.items():
        whole = name == "turn_detection" or not isinstance(value, dict) or not isinstance(before.get(name), dict)
        before[name] = value if whole else _merged(before[name], value)
    return before


class ContentPart(RequestModel):
    """A part of a message. What is not of its type is left out."""

    type: Literal["input_text", "input_audio", "input_image", "output_text", "output_audio"]
    text: str | None = Field(None, max_length=1_000_000)
    audio: str | None = None
    transcript: str | None = None
    image_url: str | None = None
    detail: Literal["auto", "low", "high"] | None = None


class MessageItem(RequestModel):
    """A message of a conversation."""

    type: Literal["message"]
    role: Literal["system", "user", "assistant"]
    content: Annotated[list[ContentPart], Field(min_length=1, max_length=64)]
    id: Annotated[str, Field(min_length=1, max_length=MOST_ID)] | None = None
    object: Literal["realtime.item"] | None = None
    status: Literal["completed", "incomplete", "in_progress"] | None = None


class ItemReference(RequestModel):
    """An item of the conversation, as the input of an answer."""

    type: Literal["item_reference"]
    id: str


class ResponseOutput(RequestModel):
    """The speech of one answer."""

    format: PcmFormat | None = None
    voice: str | None = None


class ResponseAudioSettings(RequestModel):
    """Of one answer."""

    output: ResponseOutput | None = None


class ResponseSettings(RequestModel):
    """What is asked for of one answer, instead of the session's settings."""

    instructions: str | None = Field(None, max_length=100_000)
    output_modalities: Modalities | None = None
    audio: ResponseAudioSettings | None = None
    max_output_tokens: MaxTokens | None = None
    conversation: Literal["auto", "none"] | None = None
    input: list[Annotated[MessageItem | ItemReference, Field(discriminator="type")]] | None = None
    metadata: dict[str, str] | None = Field(None, max_length=16)
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    tool_choice: Literal["auto", "none"] | None = None
    parallel_tool_calls: bool | None = None
    prompt: None = None


class ClientEvent(RequestModel):
    """What all events have."""

    type: str
    event_id: str | None = Field(None, max_length=512)


class SessionUpdate(ClientEvent):
    """Change the session."""

    session: RealtimeSession


class AudioAppend(ClientEvent):
    """Audio of the user, in base64, cut anywhere."""

    audio: str


class BareEvent(ClientEvent):
    """An event without more."""


class ItemCreate(ClientEvent):
    """Add an item: after another, first (``root``) or last."""

    item: MessageItem
    previous_item_id: str | None = None


class ItemOf(ClientEvent):
    """About one item."""

    item_id: str


class ItemTruncate(ItemOf):
    """Forget what was not heard of a spoken answer."""

    content_index: Literal[0]
    audio_end_ms: int = Field(ge=0)


class ResponseCreate(ClientEvent):
    """Answer."""

    response: ResponseSettings | None = None


class ResponseCancel(ClientEvent):
    """End an answer."""

    response_id: str | None = None


CLIENT_EVENTS: Mapping[str, type[ClientEvent]] = {
    "session.update": SessionUpdate,
    "input_audio_buffer.append": AudioAppend,
    "input_audio_buffer.commit": BareEvent,
    "input_audio_buffer.clear": BareEvent,
    "conversation.item.create": ItemCreate,
    "conversation.item.retrieve": ItemOf,
    "conversation.item.truncate": ItemTruncate,
    "conversation.item.delete": ItemOf,
    "response.create": ResponseCreate,
    "response.cancel": ResponseCancel,
}
NEUTRAL = ("tools", "tracing", "prompt", "include")
"""Parameters of a session that may only have the value that changes nothing."""


def client_event(given: object) -> ClientEvent:
    """The event of a message. ApiError (400) if it is none, or something in it is not supported."""
    if not isinstance(given, dict) or not isinstance(given.get("type"), str):
        raise ApiError(400, "an event is a JSON object with a type", param="type", code="missing_required_parameter")
    name = given["type"]
    if name == "output_audio_buffer.clear":
        raise ApiError(400, f"{name} is for WebRTC: cancel the response, and truncate its item", param="type",
                       code="unsupported_value")  # fmt: skip
    if name not in CLIENT_EVENTS:
        known = ", ".join(CLIENT_EVENTS)
        raise ApiError(400, f"there is no event {name[:100]!r}: there are {known}", param="type", code="invalid_value")
    try:
        return CLIENT_EVENTS[name].model_validate(given)
    except ValidationError as error:
        raise from_validation(error, NEUTRAL) from error
