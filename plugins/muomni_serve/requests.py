"""Bodies of requests: what is read of them is declared here, and nothing else is accepted.

A parameter of OpenAI's that does not fit these models is declared with the one value that changes nothing, so that
clients which always send it are served, and all others learn its name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from muomni_serve.settings import MOST_CHOICES

Text = Annotated[str, Field(max_length=1_000_000)]
Zero = Annotated[float, Field(ge=0, le=0)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Nothing = Annotated[dict[str, Any], Field(max_length=0)]


class RequestModel(BaseModel):
    """Unknown keys are errors, and numbers are not read from strings."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class TextPart(RequestModel):
    """Text."""

    type: Literal["text"]
    text: Text


class ImageUrl(RequestModel):
    """An image in the request itself."""

    url: str = Field(description="data:image/...;base64,... ; other URLs are not fetched", pattern=r"^[^\s]+$")
    detail: Literal["auto"] | None = None


class ImagePart(RequestModel):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageUrl


class AudioData(RequestModel):
    """A sound in the request itself."""

    data: str = Field(description="a whole file in base64", min_length=1)
    format: Literal["wav", "mp3", "flac", "opus", "ogg"]


class AudioPart(RequestModel):
    """A sound."""

    type: Literal["input_audio"]
    input_audio: AudioData


ContentPart = Annotated[TextPart | ImagePart | AudioPart, Field(discriminator="type")]


class SystemMessage(RequestModel):
    """The first message may say how to answer."""

    role: Literal["system", "developer"]
    content: Text | list[TextPart]


class UserMessage(RequestModel):
    """A question with its media."""

    role: Literal["user"]
    content: Text | Annotated[list[ContentPart], Field(min_length=1)]


class CalledFunction(RequestModel):
    """A function and its arguments, as JSON."""

    name: FunctionName
    arguments: Text


class ToolCall(RequestModel):
    """A call in an earlier answer."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class AssistantMessage(RequestModel):
    """An earlier answer: text, a call, or both."""

    role: Literal["assistant"]
    content: Text | list[TextPart] | None = None
    refusal: None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None
    audio: None = None
    function_call: None = None
    tool_calls: Annotated[list[ToolCall], Field(min_length=1, max_length=100)] | None = None


class ToolMessage(RequestModel):
    """What a called function returned."""

    role: Literal["tool"]
    content: Text | list[TextPart]
    tool_call_id: str


ChatMessage = Annotated[SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]


class StreamOptions(RequestModel):
    """Of a streamed answer."""

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class AudioParameters(RequestModel):
    """How an answer is spoken."""

    format: Literal["wav", "pcm16", "flac", "mp3", "opus"]
    voice: str | None = Field(None, description="a voice of the model; its first if not given")


class SchemaFormat(RequestModel):
    """A JSON Schema by name."""

    name: str
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema", description="draft 2020-12; any object if not given")
    strict: bool | None = Field(None, description="every answer follows the schema, whatever this says")


class ResponseFormat(RequestModel):
    """The form of an answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaFormat | None = None


class OfferedFunction(RequestModel):
    """A function that the answer may call."""

    name: FunctionName
    description: Text | None = None
    parameters: dict[str, Any] | None = Field(None, description="a JSON Schema of an object")
    strict: bool | None = Field(None, description="all arguments follow the schema, whatever this says")


class Tool(RequestModel):
    """A function is the only kind of tool."""

    type: Literal["function"]
    function: OfferedFunction


class NamedFunction(RequestModel):
    """A function by its name."""

    name: str


class NamedTool(RequestModel):
    """The function that the answer must call."""

    type: Literal["function"]
    function: NamedFunction


class ChatRequest(RequestModel):
    """``POST /v1/chat/completions``."""

    model: str
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    modalities: Annotated[list[Literal["text", "audio"]], Field(min_length=1, max_length=2)] | None = None
    audio: AudioParameters | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    seed: Seed | None = None
    stop: (
        Annotated[str, Field(min_length=1, max_length=1000)]
        | Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(max_length=4)]
        | None
    ) = None
    user: str | None = Field(None, description="a name for the client's own records; nothing depends on it")
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] | None = Field(None, description="not of OpenAI")
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(None, description="not of OpenAI")
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] | None = Field(None, description="not of OpenAI")
    trace: bool | None = Field(
        None, description="not of OpenAI: a streamed answer tells its tokens, and what in an image it depends on"
    )
    frequency_penalty: Zero | None = None
    presence_penalty: Zero | None = None
    logprobs: Literal[False] | None = None
    logit_bias: Nothing | None = None
    metadata: Nothing | None = None
    response_format: ResponseFormat | None = None
    service_tier: Literal["auto", "default"] | None = None
    store: Literal[False] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = Field(None, description="an answer has at most one call, whatever this says")


CHAT_NEUTRAL = (
    "frequency_penalty", "presence_penalty", "logprobs", "logit_bias", "metadata", "service_tier", "store",
)  # fmt: skip
"""Parameters of a chat request that may only have the value that changes nothing."""


class SpeechRequest(RequestModel):
    """``POST /v1/audio/speech``."""

    model: str
    input: str = Field(min_length=1, description="the text to speak")
    voice: str | None = Field(None, description="a voice of the model; its first if not given")
    response_format: Literal["mp3", "opus", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(1.0, ge=0.5, le=2)
    stream_format: Literal["audio", "sse"] = "audio"
    seed: Seed = Field(0, description="not of OpenAI")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(None, description="not of OpenAI")
    instructions: Literal[""] | None = None


SPEECH_NEUTRAL = ("instructions",)


class TranscriptionRequest(BaseModel):
    """``POST /v1/audio/transcriptions``, a form with a file."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    file: Any = Field(json_schema_extra={"type": "string", "format": "binary"}, description="a whole audio file")
    model: str
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    stream: Literal["true", "false"] = "false"
    language: str = Field("", description="empty, or the language that this server transcribes")
    temperature: float = Field(0, ge=0, le=0)
    prompt: Literal[""] = ""
    chunking_strategy: Literal["", "auto"] = ""
    timestamp_granularities: Annotated[list[Literal["word", "segment"]], Field(max_length=2)] = Field(
        default_factory=list, alias="timestamp_granularities[]"
    )


TRANSCRIPTION_NEUTRAL = ("temperature", "prompt", "chunking_strategy")
