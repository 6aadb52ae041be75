"""Hooks for Schemathesis. It fills schemas with anything, so that hardly any conversation ends with a question: every
second valid one is made one that the model can answer."""

from __future__ import annotations

from itertools import count
from typing import Any

import schemathesis

NUMBERS = count()


@schemathesis.hook  # type: ignore[untyped-decorator]
def before_call(context: Any, case: Any, kwargs: Any) -> None:  # noqa: ARG001
    """Called with every request before it is sent."""
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive or not isinstance(case.body, dict) or next(NUMBERS) % 2:
        return
    if case.operation.path == "/v1/chat/completions":
        answerable(case.body)


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
