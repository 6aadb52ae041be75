"""Bodies of answers, as OpenAI's clients read them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Health(BaseModel):
    """The server runs; ``models``: whether each is loaded."""

    status: Literal["ok"]
    models: dict[str, bool]


class ModelEntry(BaseModel):
    """A model. The last three fields are not OpenAI's."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    capabilities: list[str]
    voices: list[str]
    sample_rate: int | None = Field(description="of its speech, in Hz")


class ModelList(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[ModelEntry]


class Usage(BaseModel):
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class SpokenAnswer(BaseModel):
    """An answer as audio in base64, with its text."""

    id: str
    data: str
    expires_at: int
    transcript: str


class MadeArguments(BaseModel):
    """The function that an answer calls, and its arguments as JSON."""

    name: str
    arguments: str


class MadeCall(BaseModel):
    """A call of a function."""

    id: str
    type: Literal["function"] = "function"
    function: MadeArguments


class AnswerMessage(BaseModel):
    """An answer."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    audio: SpokenAnswer | None = None
    tool_calls: list[MadeCall] | None = None


class Choice(BaseModel):
    """One of ``n`` answers."""

    index: int
    message: AnswerMessage
    finish_reason: Literal["stop", "length", "tool_calls"]
    logprobs: None = None


class ChatCompletion(BaseModel):
    """The answers to a chat request."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class TranscribedWord(BaseModel):
    """A word and when it is spoken, in seconds."""

    word: str
    start: float
    end: float


class Segment(BaseModel):
    """Words between two pauses."""

    id: int
    start: float
    end: float
    text: str


class DurationUsage(BaseModel):
    """Seconds of audio."""

    type: Literal["duration"] = "duration"
    seconds: float


class TranscriptionResponse(BaseModel):
    """``response_format=json``."""

    text: str


class VerboseTranscription(BaseModel):
    """``response_format=verbose_json``."""

    task: Literal["transcribe"] = "transcribe"
    language: str
    duration: float
    text: str
    segments: list[Segment] | None = None
    words: list[TranscribedWord] | None = None
    usage: DurationUsage
