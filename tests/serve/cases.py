"""Hooks for Schemathesis. It fills schemas with anything, so hardly any conversation ends with a question, and no file is
audio. Every second valid request is made one that the model can answer."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.transport.serialization import Binary

SOUND = (Path(__file__).resolve().parents[2] / "plugins/muomni_nano/samples/y.wav").read_bytes()
NUMBERS = count()


@schemathesis.hook  # type: ignore[untyped-decorator]
def before_call(context: Any, case: Any, kwargs: Any) -> None:  # noqa: ARG001
    """Called with every request before it is sent."""
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive or not isinstance(case.body, dict) or next(NUMBERS) % 2:
        return
    if case.operation.path == "/v1/chat/completions":
        answerable(case.body)
    elif case.operation.path == "/v1/audio/transcriptions" and "file" in case.body:
        case.body["file"] = Binary(SOUND)
        if case.body.get("response_format") != "verbose_json":
            case.body.pop("timestamp_granularities[]", None)


def answerable(body: dict[str, Any]) -> None:
    """Make a conversation one that ends with a question, without media that cannot be read."""
    body["messages"] = [{"role": "user", "content": str(body.get("user") or "") + "What?"}]
    if not body.get("stream"):
        body.pop("stream_options", None)
    if body.get("max_completion_tokens"):
        body.pop("max_tokens", None)
    if body.get("modalities") == ["audio"] or "audio" not in (body.get("modalities") or ()) or not body.get("audio"):
        body.pop("modalities", None)
        body.pop("audio", None)
    else:
        body["modalities"], body["n"] = ["text", "audio"], 1
        body["audio"].pop("voice", None)
