"""A model without a Thinker over HTTP: a recording in, its command out."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import httpx
import numpy as np
import soundfile

from muomni_cli import Model, load
from tests.serve.running import serving

RATE = 16_000


def recording(nano: Model) -> bytes:
    """An order in nano's voice, which barista has heard another way."""
    samples, rate = nano.speak("Could I have a large latte please?")
    held = io.BytesIO()
    soundfile.write(held, np.concatenate([np.zeros(rate // 2, np.float32), samples]), rate, format="FLAC")
    return held.getvalue()


def test_a_recorded_command_is_answered_as_by_chat(nano: Model) -> None:
    sound = recording(nano)
    content: list[dict[str, Any]] = [
        {"type": "input_audio", "input_audio": {"data": base64.b64encode(sound).decode(), "format": "flac"}}
    ]
    message = {"role": "user", "content": content}
    with serving(models={"barista": "barista"}) as server, httpx.Client(base_url=server.url, timeout=60) as client:

        def ask(*messages: dict[str, Any]) -> httpx.Response:
            return client.post("/v1/chat/completions", json={"model": "barista", "messages": list(messages)})

        answer = ask(message).json()["choices"][0]
        refused = [
            ask({"role": "user", "content": "hello"}),
            ask(message, {"role": "assistant", "content": "{}"}, message),
        ]
    assert answer["finish_reason"] == "stop"
    with load("barista", device="cpu") as barista:
        assert answer["message"]["content"] == barista.chat(audio=sound)
    assert json.loads(answer["message"]["content"])["slots"]["coffeeDrink"] == "latte"
    assert [one.status_code for one in refused] == [400, 400]
