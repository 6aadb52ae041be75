"""Images and sounds that a chat request carries in itself."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from muomni_cli.api import Media, Message
from muomni_cli.structured_output.function_calls import call_text
from muomni_serve.errors import ApiError, invalid
from muomni_serve.requests import (
    AssistantMessage,
    AudioPart,
    ChatRequest,
    ImagePart,
    TextPart,
    ToolMessage,
    UserMessage,
)

DATA_URL = re.compile(r"data:(?P<type>[\w.+/-]*)(?:;[\w.+=-]+)*?(?P<coded>;base64)?,(?P<data>.*)", re.DOTALL)

ROLES: Mapping[str, Literal["system", "user", "assistant"]] = {
    "system": "system", "developer": "system", "user": "user", "tool": "user", "assistant": "assistant",
}  # fmt: skip
"""Turns of a template for the roles of OpenAI."""


@dataclass(frozen=True, slots=True)
class RequestMedia:
    """A file in a request. Implements :class:`muomni_cli.api.Media`."""

    modality: str
    name: str
    content: bytes = field(repr=False)

    def open(self) -> BinaryIO:
        return io.BytesIO(self.content)


def messages_of(request: ChatRequest, modalities: list[str], max_pixels: int) -> list[Message]:
    """The conversation. ApiError (400, 413) for one that is out of order, or media that the model cannot take."""
    found: list[Message] = []
    called: set[str] = set()
    for number, message in enumerate(request.messages):
        where = f"messages[{number}]"
        if message.role in ("system", "developer") and number:
            raise invalid(f"{where}.role", "a system message can only come first")
        if isinstance(message, ToolMessage) and message.tool_call_id not in called:
            raise invalid(f"{where}.tool_call_id", f"{where}.tool_call_id names no call of an earlier message")
        content = message.content or ""
        parts = [TextPart(type="text", text=content)] if isinstance(content, str) else content
        lines = [part.text for part in parts if isinstance(part, TextPart)]
        if isinstance(message, AssistantMessage):
            calls = message.tool_calls or []
            if message.content is None and not calls:
                raise invalid(f"{where}.content", f"{where} has neither content nor tool_calls")
            called.update(call.id for call in calls)
            lines = [*filter(None, lines), *(call_text(one.function.name, one.function.arguments) for one in calls)]
        media = [
            _media(part, f"{where}.content[{place}]", modalities, max_pixels)
            for place, part in enumerate(parts)
            if not isinstance(part, TextPart)
        ]
        found.append(Message(ROLES[message.role], "\n".join(lines), tuple(media)))
    last = request.messages[-1]
    if not isinstance(last, UserMessage | ToolMessage):
        raise invalid(f"messages[{len(found) - 1}].role", "the last message must be the user's, or of a tool")
    if not found[-1].text.strip() and not found[-1].media:
        raise invalid(f"messages[{len(found) - 1}].content", "the last message is empty")
    return found


def _media(part: ImagePart | AudioPart, where: str, modalities: list[str], max_pixels: int) -> Media:
    modality = "image" if isinstance(part, ImagePart) else "audio"
    if modality not in modalities:
        takes = " and ".join(["text", *modalities])
        raise ApiError(400, f"this model takes no {modality}, only {takes}", param=where, code="unsupported_value")
    if isinstance(part, ImagePart):
        where = f"{where}.image_url.url"
        content = _from_data_url(part.image_url.url, where)
        _check_pixels(content, where, max_pixels)
    else:
        where = f"{where}.input_audio.data"
        content = _decoded(part.input_audio.data, where)
    return RequestMedia(modality, where, content)


def image_of(url: str, where: str, max_pixels: int) -> RequestMedia:
    """The image of a data URL. ApiError (400, 413) if it is none, or too large."""
    content = _from_data_url(url, where)
    _check_pixels(content, where, max_pixels)
    return RequestMedia("image", where, content)


def _from_data_url(url: str, where: str) -> bytes:
    if not url.startswith("data:"):
        message = f"{where}: only data: URLs are read, nothing is fetched: send the image as data:image/png;base64,..."
        raise ApiError(400, message, param=where, code="unsupported_value")
    match = DATA_URL.fullmatch(url)
    if match is None or not match["coded"] or not match["type"].startswith("image/"):
        raise invalid(where, f"{where} is not data:image/...;base64,...")
    return _decoded(match["data"], where)


def _decoded(text: str, where: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(where, f"{where} is not base64: {error}") from error
    if not content:
        raise invalid(where, f"{where} is empty")
    return content


def _check_pixels(content: bytes, where: str, max_pixels: int) -> None:
    """Of the header, before anything is decoded. What is no image is refused when it is read."""
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of images that are too large, which is decided here
            width, height = Image.open(io.BytesIO(content)).size
    except Image.DecompressionBombError:
        width = height = 1 << 16
    except Exception as error:
        raise invalid(where, f"{where} is not an image that can be read") from error
    if width * height > max_pixels:
        message = f"{where} has {width * height:,} pixels, and at most {max_pixels:,} are taken: make it smaller"
        raise ApiError(413, message, param=where, code="image_too_large")
