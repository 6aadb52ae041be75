"""Clients that hang up, send too much or have no business here."""

from __future__ import annotations

import base64
import io
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from PIL import Image

from muomni_cli import Model
from muomni_cli.audio.encoding import as_bytes
from tests.serve.running import LONG, Served, serving, until

SPEECH = {"model": "nano", "input": LONG, "response_format": "pcm"}
CHAT: dict[str, Any] = {"model": "nano", "messages": [{"role": "user", "content": "Tell me a story"}]}
KEY = "sk-test"


@pytest.fixture(scope="module")
def strict() -> Iterator[Served]:
    """A server with small limits, a key, and pages of one origin, which does one thing at a time."""
    with serving(
        api_key=KEY, origins=("https://pages.test",), hosts=("speech.test",), max_body=300_000, max_audio=2.0,
        max_pixels=10_000, upload_timeout=0.5, queue=1, together=False,
    ) as one:  # fmt: skip
        yield one


@pytest.fixture
def http(strict: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=strict.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as one:
        yield one


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The error object, which every error has."""
    assert answer.headers["content-type"] == "application/json"
    (error,) = answer.json().values()
    assert error.keys() == {"message", "type", "param", "code"}
    assert "\n" not in error["message"]
    return dict(error)


def test_a_speaker_whose_listener_hangs_up_stops(served: Served) -> None:
    with httpx.stream("POST", f"{served.url}/v1/audio/speech", json=SPEECH, timeout=60) as answer:
        assert answer.status_code == 200
        next(answer.iter_bytes())
        assert served.waiting == 1
    until(lambda: served.waiting == 0, "the generation ends", 10)


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_whose_reader_hangs_up_stops(strict: Served, stream: bool) -> None:
    begun = httpx.Timeout(60, read=60 if stream else 0.3)
    long = {"type": "object", "properties": {"a": {"type": "string", "minLength": 250}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "long", "schema": long | {"additionalProperties": False}}}
    asked = CHAT | {"n": 8, "temperature": 2, "stream": stream, "max_tokens": 480, "response_format": form}
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=strict.url, headers=headers, timeout=begun) as client:
        if stream:
            for _ in range(20):  # a busy machine may read the first line when the answer is complete
                with client.stream("POST", "/v1/chat/completions", json=asked) as answer:
                    assert answer.status_code == 200
                    next(answer.iter_lines())
                    generating = strict.waiting == 1
                if generating:
                    break
            assert generating
        else:
            speech = SPEECH | {"input": LONG, "response_format": "flac"}  # sent when it is complete
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/audio/speech", json=speech)
    until(lambda: strict.waiting == 0, "the generation ends", 10)


def test_a_request_whose_client_hung_up_in_the_queue_is_not_begun(http: httpx.Client, strict: Served) -> None:
    with http.stream("POST", "/v1/audio/speech", json=SPEECH):
        until(lambda: strict.waiting == 1, "it speaks")
        with pytest.raises(httpx.ReadTimeout):
            http.post("/v1/audio/speech", json=SPEECH, timeout=httpx.Timeout(60, read=0.2))
        until(lambda: strict.waiting == 1, "the queue forgets it", 5)
    until(lambda: strict.waiting == 0, "the generation ends", 10)


def test_who_finds_the_queue_full_is_told_to_come_again(http: httpx.Client, strict: Served) -> None:
    with ThreadPoolExecutor() as pool, http.stream("POST", "/v1/audio/speech", json=SPEECH):
        until(lambda: strict.waiting == 1, "it speaks")
        waits = pool.submit(http.post, "/v1/audio/speech", json=SPEECH | {"input": "Hello."})
        until(lambda: strict.waiting == 2, "it waits")
        answer = http.post("/v1/audio/speech", json=SPEECH)
        assert (answer.status_code, error_of(answer)["code"]) == (429, "queue_full")
        assert answer.headers["retry-after"] == "1"
    assert waits.result().status_code == 200


def test_what_takes_too_long_ends() -> None:
    with serving(timeout=0.5) as quick, httpx.Client(base_url=quick.url, timeout=60) as client:
        answer = client.post("/v1/audio/speech", json=SPEECH | {"response_format": "flac"})
        assert (answer.status_code, error_of(answer)["code"]) == (408, "timeout")
        with client.stream("POST", "/v1/audio/speech", json=SPEECH | {"stream_format": "sse"}) as events:
            *_, last = (line for line in events.iter_lines() if line)
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "timeout"
        with pytest.raises(httpx.RemoteProtocolError), client.stream("POST", "/v1/audio/speech", json=SPEECH) as speech:
            speech.read()
        until(lambda: quick.waiting == 0, "nothing is left", 10)


def test_a_request_that_does_not_arrive_is_given_up(strict: Served) -> None:
    host, port = strict.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as line:
        line.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{".encode()
        )
        with line.makefile("rb") as file:
            answer = file.read()  # head and body may come apart; the server closes the connection
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"upload_timeout"' in answer


def test_too_much_is_refused(http: httpx.Client) -> None:
    told = http.post("/v1/chat/completions", json=CHAT | {"user": "x" * 400_000})

    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 10_000

    untold = http.post("/v1/chat/completions", content=pieces(), headers={"Content-Type": "application/json"})
    form = http.post("/v1/audio/transcriptions", data={"model": "nano"}, files={"file": ("a.wav", bytes(400_000))})
    for answer in (told, untold, form):
        assert (answer.status_code, error_of(answer)["code"]) == (413, "request_too_large")


def test_a_long_recording_is_refused(http: httpx.Client, sound: bytes) -> None:
    for rate, seconds in ((16_000, 3), (8_000, 30)):
        file = io.BytesIO()
        soundfile.write(file, 0.1 * np.ones(rate * seconds // 2, np.float32), rate // 2, format="FLAC")
        answer = http.post("/v1/audio/transcriptions", data={"model": "nano"}, files={"file": ("a", file.getvalue())})
        assert (answer.status_code, error_of(answer)["param"]) == (413, "file")
    assert http.post("/v1/audio/transcriptions", data={"model": "nano"}, files={"file": ("a", sound)}).is_success


@pytest.mark.parametrize("side", [101, 20_000])
def test_a_large_picture_is_refused_before_it_is_decoded(http: httpx.Client, side: int) -> None:
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    part = {"type": "image_url", "image_url": {"url": url}}
    answer = http.post("/v1/chat/completions", json=CHAT | {"messages": [{"role": "user", "content": [part]}]})
    assert answer.status_code == 413
    assert error_of(answer)["code"] == "image_too_large"


def test_only_known_names_of_the_server_are_served(http: httpx.Client, strict: Served) -> None:
    port = strict.url.rpartition(":")[2]
    for host in ("localhost", f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", f"speech.test:{port}"):
        assert http.get("/v1/models", headers={"Host": host}).status_code == 200, host
    for host in ("evil.test", f"evil.test:{port}", "localhost.evil.test", "127.0.0.1.evil.test", "[::1", "@", ""):
        answer = http.get("/v1/models", headers={"Host": host})
        assert answer.status_code in (400, 403), host
    assert error_of(http.get("/health", headers={"Host": "evil.test"}))["code"] == "host_not_allowed"


def test_only_known_pages_are_served(http: httpx.Client, strict: Served) -> None:
    own = http.get("/v1/models", headers={"Origin": strict.url})
    named = http.get("/v1/models", headers={"Origin": "https://pages.test"})
    assert (own.status_code, named.status_code) == (200, 200)
    assert "access-control-allow-origin" not in own.headers
    assert named.headers["access-control-allow-origin"] == "https://pages.test"
    for origin in ("https://evil.test", "null", "http://pages.test", "https://pages.test.evil.test"):
        answer = http.get("/v1/models", headers={"Origin": origin})
        assert (answer.status_code, error_of(answer)["code"]) == (403, "origin_not_allowed")
        assert "access-control-allow-origin" not in answer.headers
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    allowed = httpx.options(f"{strict.url}/v1/models", headers={"Origin": "https://pages.test", **asking})
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-headers"] == "authorization"
    assert (
        httpx.options(f"{strict.url}/v1/models", headers={"Origin": "https://evil.test", **asking}).status_code == 403
    )


def test_errors_for_a_known_page_can_be_read_by_it(http: httpx.Client) -> None:
    answer = http.post("/v1/chat/completions", json={}, headers={"Origin": "https://pages.test"})
    assert answer.status_code == 400
    assert answer.headers["access-control-allow-origin"] == "https://pages.test"


def test_the_key_is_asked_for(strict: Served) -> None:
    for given in ({}, {"Authorization": "Bearer other"}, {"Authorization": KEY}, {"Authorization": f"Basic {KEY}"}):
        for path in ("/v1/models", "/metrics", "/openapi.json", "/v1/nothing"):
            answer = httpx.get(f"{strict.url}{path}", headers=given)
            assert (answer.status_code, error_of(answer)["code"]) == (401, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"
    assert httpx.get(f"{strict.url}/health").json() == {"status": "ok", "models": {"nano": True}}


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"model": "nano"', "text/plain", 415),
        (b"[" * 50_000, "application/json", 400),
        (b'{"model": 5, "messages": []}', "application/json", 400),
        (b'{"model": "nano", "messages": [{"role": "user", "content": "\\ud800"}]}', "application/json", 400),
        (b'{"model": "other", "messages": [{"role": "user", "content": "x"}]}', "application/json", 404),
    ],
)
def test_bad_bodies_are_errors(http: httpx.Client, content: bytes, kind: str, status: int) -> None:
    for path in ("/v1/chat/completions", "/v1/audio/speech", "/v1/audio/transcriptions"):
        answer = http.post(path, content=content, headers={"Content-Type": kind})
        wanted = {status, 415} if "transcriptions" in path else {status, 400} if status == 404 else {status}
        assert answer.status_code in wanted
        error_of(answer)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"nothing", "multipart/form-data"),
        (b"nothing", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
        (b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nnano\r\n--x--\r\n', "multipart/form-data"),
    ],
)
def test_bad_forms_are_errors(http: httpx.Client, content: bytes, kind: str) -> None:
    kind = f"{kind}; boundary=x" if content.endswith(b"--x--\r\n") else kind
    answer = http.post("/v1/audio/transcriptions", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 400
    error_of(answer)


def test_fields_of_a_form_are_given_once_and_files_are_files(http: httpx.Client, sound: bytes) -> None:
    twice = http.post("/v1/audio/transcriptions", data={"model": ["nano", "nano"]}, files={"file": ("a.wav", sound)})
    text = http.post("/v1/audio/transcriptions", files={"model": (None, "nano"), "file": (None, "text")})
    other = http.post("/v1/audio/transcriptions", data={"model": "nano", "x": "1"}, files={"file": ("a.wav", sound)})
    assert [error_of(answer)["param"] for answer in (twice, text, other)] == ["model", "file", "x"]


@pytest.mark.parametrize(
    "path", ["/v1/responses", "/v1/responses/x", "/v1/embeddings", "/v1/files", "/v1/images/generations", "/v1/threads"]
)
def test_what_is_not_served_is_named(http: httpx.Client, path: str) -> None:
    answer = http.post(path, json={})
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == (404, "not_served")
    assert "/".join(path.split("/")[:3]) in error["message"]


def test_other_paths_and_methods_are_errors(http: httpx.Client) -> None:
    assert error_of(http.get("/nothing"))["code"] == "not_found"
    answer = http.get("/v1/chat/completions")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    error_of(answer)


def test_answers_are_counted(http: httpx.Client) -> None:
    http.post("/v1/chat/completions", json=CHAT | {"max_tokens": 3}).raise_for_status()
    text = http.get("/metrics").text
    assert 'muomni_requests_total{path="/v1/chat/completions",status="200"}' in text
    assert 'muomni_completion_tokens_total{model="nano"}' in text
    assert 'muomni_loaded{model="nano"} 1.0' in text


@pytest.mark.parametrize("together", [False, True])
def test_sixteen_at_once_get_what_one_gets(together: bool) -> None:
    """A third of them hangs up; nobody's answer depends on the others."""

    def ask(seed: int, served: Served) -> str:
        asked = CHAT | {"seed": seed % 4, "temperature": 1, "max_tokens": 10}
        with httpx.Client(base_url=served.url, timeout=60) as client:
            if seed % 3 == 0:
                with client.stream("POST", "/v1/chat/completions", json=asked | {"stream": True}) as answer:
                    next(answer.iter_lines())
                return ""
            made = client.post("/v1/chat/completions", json=asked).json()
            return str(made["choices"][0]["message"]["content"])

    with serving(together=together) as served, ThreadPoolExecutor(16) as pool:
        alone = {seed: ask(seed + 4 if seed % 3 == 0 else seed, served) for seed in range(4)}
        for seed, text in enumerate(pool.map(ask, range(48), repeat(served))):
            assert text in ("", alone[seed % 4])
        until(lambda: served.waiting == 0, "nothing is left", 10)


@pytest.mark.parametrize("together", [False, None])
def test_speech_is_that_of_tts_whoever_joins_leaves_and_chats(nano: Model, together: bool | None) -> None:
    texts = ("Hello.", "The train leaves at seven.", "One two three four.")

    def say(seed: int, served: Served) -> bytes:
        asked = {"model": "nano", "input": texts[seed % 3], "seed": seed, "response_format": "wav", "temperature": 0.5}
        with httpx.Client(base_url=served.url, timeout=60) as client:
            if seed % 4 == 1:
                client.post("/v1/chat/completions", json=CHAT | {"max_tokens": 5}).raise_for_status()
            with client.stream("POST", "/v1/audio/speech", json=asked) as answer:
                pieces = answer.iter_bytes()
                return next(pieces) if seed % 4 == 3 else b"".join(pieces)

    with serving(together=together) as served, ThreadPoolExecutor(8) as pool:
        made = list(pool.map(say, range(8), repeat(served)))
        until(lambda: served.waiting == 0, "nothing is left", 10)
    header = 44
    for seed, data in enumerate(made):
        samples = nano.speak(texts[seed % 3], seed=seed, temperature=0.5)[0]
        own = as_bytes(samples)
        assert data[header:] == own[: len(data) - header]
        assert seed % 4 == 3 or len(data) == header + len(own)


def test_exact_answers_are_those_of_chat_whoever_else_is_served(nano: Model) -> None:
    options: dict[str, Any] = {"temperature": 1, "max_tokens": 10}

    def ask(seed: int) -> str:
        made = httpx.post(f"{exact.url}/v1/chat/completions", json=CHAT | options | {"seed": seed}, timeout=60).json()
        return str(made["choices"][0]["message"]["content"])

    with serving() as exact, ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, range(8)))
    assert together == [nano.chat("Tell me a story", seed=seed, **options) for seed in range(8)]


def test_a_model_is_unloaded_when_it_was_unused_and_loaded_again() -> None:
    with serving(keep=0.2) as short, httpx.Client(base_url=short.url, timeout=60) as client:
        for _ in range(2):
            first = client.post("/v1/chat/completions", json=CHAT | {"max_tokens": 3})
            assert first.status_code == 200
            until(lambda: client.get("/health").json()["models"] == {"nano": False}, "it is unloaded", 10)


def test_models_are_served_by_id() -> None:
    with serving(models={"a": "nano", "b": "nano"}) as both, httpx.Client(base_url=both.url, timeout=60) as client:
        assert [one["id"] for one in client.get("/v1/models").json()["data"]] == ["a", "b"]
        asked = [CHAT | {"model": name, "seed": 1, "max_tokens": 4} for name in ("a", "b", "c")]
        answers = [client.post("/v1/chat/completions", json=one) for one in asked]
        assert [one.status_code for one in answers] == [200, 200, 404]
        assert answers[0].json()["choices"] == answers[1].json()["choices"]


def test_a_stop_ends_streams_with_an_error_event() -> None:
    spoken = SPEECH | {"stream_format": "sse"}
    with serving() as server, httpx.stream("POST", f"{server.url}/v1/audio/speech", json=spoken, timeout=60) as answer:
        lines = (line for line in answer.iter_lines() if line)
        next(lines)
        (stream,) = server.service.models["nano"].worker._shared["frames"].streams
        stream.loop.call_soon_threadsafe(server.service.stop)
        *_, last = lines
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "server_stopping"
