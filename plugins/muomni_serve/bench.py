"""``muomni bench serve``: a client that asks a server again and again, bounded in count and time.

HTTP/1.1 over asyncio's own streams: a client library would cost more than some answers, and be measured with them.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from muomni_cli.api import MuomniError, RequestError

QUESTION = "Tell me a story"
SENTENCE = "The train to the coast leaves at seven."
START = 120.0  # seconds until a server that is started must listen
KINDS = ("chat", "speech")


@dataclass(frozen=True, slots=True)
class Load:
    """How a server is asked: ``clients`` at once, until there are ``requests`` answers or ``seconds`` have passed."""

    clients: int = 1
    requests: int = 100
    seconds: float = 60.0
    text: str | None = None
    key: str = ""

    def body(self, kind: str, model: str, number: int) -> tuple[str, dict[str, Any]]:
        """Path and body of a request. Those of a bench differ by their seed alone."""
        if kind == "chat":
            message = {"role": "user", "content": self.text or QUESTION}
            asked = {"messages": [message], "stream": True, "temperature": 1, "max_tokens": 32}
            return "/v1/chat/completions", {"model": model, "seed": number, **asked}
        asked = {"input": self.text or SENTENCE, "response_format": "pcm"}
        return "/v1/audio/speech", {"model": model, "seed": number, **asked}


@dataclass(slots=True)
class LoadResult:
    """What was measured, in seconds since each request. ``first``: until its first bytes of content: the first token
    of a chat, the first sound of speech."""

    kind: str
    clients: int
    seconds: float = 0.0
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.whole) / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """Milliseconds, by percentile."""
        places = {f"{name}_{share}_ms": round(1000 * percentile(values, share), 1)
                  for name, values in (("first", self.first), ("whole", self.whole)) for share in (50, 95)}  # fmt: skip
        counts = {"clients": self.clients, "requests": len(self.whole), "failures": self.failures}
        return {"kind": self.kind, **counts, "requests_per_second": round(self.rate, 2), **places}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` percent of the values do not exceed; NaN if there are none."""
    if not values:
        return float("nan")
    return sorted(values)[max(0, -(-len(values) * int(share) // 100) - 1)]


@contextmanager
def server_of(model: str | None) -> Iterator[str]:
    """The address of a server for ``model`` in a process of its own. MuomniError if it does not start."""
    command = [sys.executable, "-m", "muomni_cli", "serve", "--port", "0", *(["-m", model] if model else [])]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = ""
        until = time.monotonic() + START
        while time.monotonic() < until and (line := process.stderr.readline()):
            said += line
            if line.startswith("serving "):
                yield line.split(" on ")[1].split("/v1")[0]
                return
        reason = " ".join(said.split()) or "it said nothing"
        raise MuomniError(f"the server did not start: {reason}", "start it with muomni serve, and name it with --url")
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


def measure(url: str, kinds: Sequence[str], load: Load, model: str | None = None) -> list[LoadResult]:
    """Ask the server at ``url`` for each of ``kinds``; one request of each is not counted. RequestError if it cannot be
    reached or has no such model; MuomniError if it answers the first request with an error."""
    return asyncio.run(_measure(url, kinds, load, model))


async def _measure(url: str, kinds: Sequence[str], load: Load, model: str | None) -> list[LoadResult]:
    name = model or await _first_model(url, load)
    found = []
    for kind in kinds:
        warm = await _ask(url, load, *load.body(kind, name, 0))
        if warm[2]:
            raise MuomniError(f"{url} answers {kind} with an error: {warm[2]}", "see the log of the server")
        found.append(await _asked(url, kind, load, name))
    return found


async def _asked(url: str, kind: str, load: Load, model: str) -> LoadResult:
    result = LoadResult(kind, load.clients)
    numbers = iter(range(load.requests))
    begin = time.perf_counter()

    async def client() -> None:
        for number in numbers:
            if time.perf_counter() - begin > load.seconds:
                return
            first, whole, failure = await _ask(url, load, *load.body(kind, model, number))
            if failure:
                result.failures[failure] = result.failures.get(failure, 0) + 1
            else:
                result.first.append(first)
                result.whole.append(whole)

    await asyncio.gather(*(client() for _ in range(load.clients)))
    result.seconds = time.perf_counter() - begin
    return result


async def _ask(url: str, load: Load, path: str, body: Mapping[str, Any]) -> tuple[float, float, str]:
    """Seconds until the first content and until the end, and what failed; empty if nothing did."""
    begin = time.perf_counter()
    first = 0.0
    try:
        async for status, piece in _exchange(url, load.key, "POST", path, body):
            if status != 200:
                return 0.0, 0.0, f"status {status}"
            if b'"error":{' in piece:
                return 0.0, 0.0, "an error within the stream"
            content = b'"content":"' in piece and b'"content":""' not in piece
            if not first and (content or "speech" in path):
                first = time.perf_counter() - begin
    except (OSError, EOFError, ValueError) as error:
        return 0.0, 0.0, type(error).__name__
    whole = time.perf_counter() - begin
    return first or whole, whole, ""


async def _first_model(url: str, load: Load) -> str:
    try:
        answer = [piece async for piece in _exchange(url, load.key, "GET", "/v1/models", None)]
        return str(json.loads(b"".join(piece for _, piece in answer))["data"][0]["id"])
    except (OSError, EOFError, ValueError, LookupError) as error:
        raise RequestError(f"{url} is not a server that lists its models", "start one: muomni serve") from error


async def _exchange(
    url: str, key: str, method: str, path: str, body: Mapping[str, Any] | None
) -> AsyncIterator[tuple[int, bytes]]:
    """Status and pieces of the body of an answer, over a connection of its own. OSError, EOFError or ValueError if it
    is not one."""
    place = urlsplit(url)
    if place.scheme != "http" or not place.hostname:
        raise RequestError(f"{url} is not an address such as http://127.0.0.1:8000", "give the one that serve prints")
    content = b"" if body is None else json.dumps(body).encode()
    reader, writer = await asyncio.open_connection(place.hostname, place.port or 80)
    try:
        head = f"{method} {path} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        head += f"Authorization: Bearer {key}\r\n" if key else ""
        writer.write(head.encode() + b"\r\n" + content)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        if not any(line.lower() == "transfer-encoding: chunked" for line in lines):
            yield status, await reader.read()
            return
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            yield status, (await reader.readexactly(size + 2))[:-2]
        await reader.read()
    finally:
        writer.close()
