"""``WS /v1/realtime``, by the realtime client of OpenAI's own package over a socket."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, get_args

import httpx
import numpy as np
import pytest
from openai import OpenAI
from openai.resources.realtime.realtime import RealtimeConnection as Connection
from openai.types.realtime import RealtimeServerEvent
from openai.types.realtime.realtime_client_event import RealtimeClientEvent
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from muomni_cli import Model
from muomni_cli.audio.dsp import resample
from muomni_cli.audio.encoding import as_bytes
from muomni_serve.realtime_events import CLIENT_EVENTS
from tests.serve.running import Served, serving, until

# OpenAI's package opens its WebSocket in a way that newer ones of websockets discourage.
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")


def names(union: Any) -> set[str]:
    """The types of the events of a union."""
    return {get_args(one.model_fields["type"].annotation)[0] for one in get_args(get_args(union)[0])}


GA = names(RealtimeServerEvent)


@pytest.fixture
def connection(client: OpenAI) -> Iterator[Connection]:
    with client.realtime.connect(model="nano") as one:
        assert one.recv().type == "session.created"
        yield one


def pcm(samples: Any) -> bytes:
    return as_bytes(resample(samples, 16_000, 24_000))


def append(connection: Connection, content: bytes, piece: int = 4801) -> None:
    for place in range(0, len(content), piece):
        connection.input_audio_buffer.append(audio=base64.b64encode(content[place : place + piece]).decode())


def events_until(connection: Connection, last: str) -> list[Any]:
    """Events up to one of that type, all of which are of the interface as it is today."""
    found: list[Any] = []
    while not found or found[-1].type != last:
        found.append(connection.recv())
        assert found[-1].type in GA
        assert last == "error" or found[-1].type != "error", found[-1]
    return found


def say(connection: Connection, text: str) -> Any:
    item: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    connection.conversation.item.create(item=item)
    return events_until(connection, "conversation.item.done")[-1].item


def session(**audio: Any) -> Any:
    return {"type": "realtime", "audio": audio}


def test_every_event_of_clients_is_one_of_today() -> None:
    assert set(CLIENT_EVENTS) == names(RealtimeClientEvent) - {"output_audio_buffer.clear"}


def test_a_spoken_turn_is_answered_in_speech(connection: Connection, question: Any, nano: Model) -> None:
    connection.session.update(session=session(input={"transcription": {"model": "nano", "language": "en"}}))
    assert connection.recv().type == "session.updated"
    append(connection, pcm(question))
    events = events_until(connection, "response.done")
    order = list(dict.fromkeys(one.type for one in events))
    assert order[:5] == [
        "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "input_audio_buffer.committed",
        "conversation.item.added", "conversation.item.done",
    ]  # fmt: skip
    begin, end = events[0].audio_start_ms, events[1].audio_end_ms
    assert 500 <= begin <= 1300
    assert begin < end <= 1000 * len(question) / 16_000
    assert len({one.item_id for one in events[:3]} | {events[3].item.id}) == 1
    (heard,) = [one.transcript for one in events if one.type.endswith("transcription.completed")]
    deltas = [one.delta for one in events if one.type.endswith("transcription.delta")]
    assert "".join(deltas) == heard
    cut = question[16 * begin : 16 * end]
    assert set(heard.split()) & set(nano.transcribe((cut, 16_000)).split())
    done = events[-1].response
    assert done.status == "completed"
    (part,) = done.output[0].content
    text = "".join(one.delta for one in events if one.type == "response.output_audio_transcript.delta")
    assert text == part.transcript
    assert text.strip()
    spoken = b"".join(base64.b64decode(one.delta) for one in events if one.type == "response.output_audio.delta")
    assert np.abs(np.frombuffer(spoken, "<i2")).max() > 1000
    usage = done.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.output_token_details.audio_tokens * 0.08 == pytest.approx(len(spoken) / 48_000, abs=0.1)
    assert {
        "response.created", "response.output_item.added", "response.content_part.added", "response.output_audio.done",
        "response.output_audio_transcript.done", "response.content_part.done", "response.output_item.done",
    } <= set(order)  # fmt: skip


def test_turns_that_the_client_ends(connection: Connection, question: Any, nano: Model) -> None:
    connection.session.update(session=session(input={"turn_detection": None, "transcription": {}}))
    assert connection.recv().session.audio.input.turn_detection is None  # type: ignore[union-attr]
    append(connection, b"\1\2\3", 3)
    connection.input_audio_buffer.clear()
    assert connection.recv().type == "input_audio_buffer.cleared"
    append(connection, pcm(question))
    connection.input_audio_buffer.commit()
    events = events_until(connection, "conversation.item.input_audio_transcription.completed")
    sixteen = resample(np.frombuffer(pcm(question), "<i2").astype(np.float32) / 32768, 24_000, 16_000)
    assert events[-1].transcript == nano.transcribe((sixteen, 16_000))
    connection.input_audio_buffer.commit()
    assert events_until(connection, "error")[-1].error.code == "input_audio_buffer_empty"
    connection.response.create(response={"output_modalities": ["text"], "max_output_tokens": 3})
    done = events_until(connection, "response.done")[-1].response
    assert done.status in ("incomplete", "completed")
    assert done.output[0].content[0].type == "output_text"


def test_the_conversation_is_what_its_items_say(connection: Connection) -> None:
    connection.session.update(session={"type": "realtime", "output_modalities": ["text"], "instructions": "Be brief."})
    assert connection.recv().session.instructions == "Be brief."  # type: ignore[union-attr]
    first = say(connection, "Tell me a story")
    connection.response.create()
    events = events_until(connection, "response.done")
    text = "".join(one.delta for one in events if one.type == "response.output_text.delta")
    assert text == events[-1].response.output[0].content[0].text
    prompt = events[-1].response.usage.input_tokens
    second = say(connection, "And now?")
    connection.conversation.item.retrieve(item_id=second.id)
    assert connection.recv().item.content[0].text == "And now?"  # type: ignore[union-attr]
    connection.response.create(response={"max_output_tokens": 2})
    longer = events_until(connection, "response.done")[-1].response.usage.input_tokens
    assert longer > prompt
    for item in (first.id, events[-1].response.output[0].id, second.id):
        connection.conversation.item.delete(item_id=item)
        assert connection.recv().type == "conversation.item.deleted"
    asked: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Tell me a story"}]}
    apart: Any = {"conversation": "none", "input": [asked], "max_output_tokens": 2, "metadata": {"a": "b"}}
    connection.response.create(response=apart)
    done = events_until(connection, "response.done")[-1].response
    assert (done.usage.input_tokens, done.metadata, done.conversation_id) == (prompt, {"a": "b"}, None)


def test_an_answer_is_interrupted_by_speech_and_cut_to_what_was_heard(connection: Connection, question: Any) -> None:
    say(connection, "Tell me a story")
    say(connection, "Tell me a long story about the sea")
    connection.response.create()
    events_until(connection, "response.output_audio.delta")
    append(connection, pcm(question[:24_000]), 1_000_000)
    events = events_until(connection, "response.done")
    done = events[-1].response
    item = done.output[0]
    if done.status == "cancelled":  # else it was complete before the speech was noticed
        assert done.status_details.reason == "turn_detected"
    connection.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=10)
    assert events_until(connection, "conversation.item.truncated")[-1].audio_end_ms == 10
    connection.conversation.item.retrieve(item_id=item.id)
    kept = connection.recv().item  # type: ignore[union-attr]
    assert kept.status == "incomplete"  # type: ignore[union-attr]
    assert item.content[0].transcript.startswith(kept.content[0].transcript)  # type: ignore[union-attr]
    assert kept.content[0].transcript != item.content[0].transcript  # type: ignore[union-attr]
    connection.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=60_000)
    assert events_until(connection, "error")[-1].error.param == "audio_end_ms"


def test_an_answer_is_cancelled(connection: Connection) -> None:
    connection.response.cancel()
    assert connection.recv().error.code == "response_cancel_not_active"  # type: ignore[union-attr]
    say(connection, "Tell me a story")
    connection.response.create()
    events_until(connection, "response.created")
    connection.response.create()
    connection.response.cancel()
    events = [connection.recv()]
    while events[-1].type != "response.done":
        events.append(connection.recv())
    assert "conversation_already_has_active_response" in [one.error.code for one in events if one.type == "error"]
    assert events[-1].response.status_details.reason == "client_cancelled"


@pytest.mark.parametrize(
    ("event", "param"),
    [
        ({"type": "response.audio.delta"}, "type"),
        ({"type": "session.update", "session": {"modalities": ["text"]}}, "session.modalities"),
        ({"type": "session.update", "session": {"type": "realtime", "model": "other"}}, "session.model"),
        ({"type": "session.update", "session": session(output={"voice": "zoe"})}, "session.audio.output.voice"),
        ({"type": "session.update", "session": session(input={"format": {"type": "audio/pcmu"}})},
         "session.audio.input.format.type"),
        ({"type": "session.update", "session": {"tools": [{"type": "function", "name": "f"}]}}, "session.tools"),
        ({"type": "input_audio_buffer.append", "audio": "???"}, "audio"),
        ({"type": "input_audio_buffer.append"}, "audio"),
        ({"type": "conversation.item.retrieve", "item_id": "x"}, "item_id"),
        ({"type": "output_audio_buffer.clear"}, "type"),
        ({"type": "response.create", "response": {"temperature": 1}}, "response.temperature"),
        ({"no": "type"}, "type"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_an_error_event(connection: Connection, event: Any, param: str) -> None:
    connection.send({"event_id": "mine", **event})
    error = connection.recv()
    assert error.type == "error"
    assert (error.error.param, error.error.event_id) == (param, "mine")
    connection.send_raw("no JSON")
    assert connection.recv().error.code == "invalid_json"  # type: ignore[union-attr]


def test_who_may_not_connect_is_told_by_a_status(served: Served, client: OpenAI) -> None:
    for query, status in (({"model": "other"}, 404), ({}, 400)):
        with pytest.raises(InvalidStatus) as refused, client.realtime.connect(extra_query=query, max_retries=0) as _:
            pass
        assert refused.value.response.status_code == status
    with serving(api_key="secret") as keyed:
        other = OpenAI(base_url=f"{keyed.url}/v1", api_key="wrong")
        with pytest.raises(InvalidStatus), other.realtime.connect(model="nano", max_retries=0) as _:
            pass
        mine = OpenAI(base_url=f"{keyed.url}/v1", api_key="secret")
        with mine.realtime.connect(model="nano") as connection:
            assert connection.recv().type == "session.created"
        address = f"{keyed.url.replace('http', 'ws')}/v1/realtime?model=nano"
        with connect(address, subprotocols=["realtime", "openai-insecure-api-key.secret"]) as page:  # type: ignore[list-item]
            assert json.loads(page.recv())["type"] == "session.created"
            assert page.subprotocol == "realtime"
        with pytest.raises(InvalidStatus), connect(address, subprotocols=["openai-insecure-api-key.x"]):  # type: ignore[list-item]
            pass
    assert httpx.get(f"{served.url}/v1/realtime").status_code == 404
    assert httpx.post(f"{served.url}/v1/responses", json={}).json()["error"]["code"] == "not_served"


def test_a_client_that_hangs_up_frees_the_model(served: Served, client: OpenAI) -> None:
    with client.realtime.connect(model="nano") as connection:
        connection.recv()
        say(connection, "Tell me a story")
        connection.response.create()
        events_until(connection, "response.created")
    until(lambda: served.waiting == 0 and served.service.live_sessions == 0, "the model is free")
