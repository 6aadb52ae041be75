"""``muomni bench serve``: a client that asks a server again and again, bounded in count and time.

HTTP/1.1 over asyncio's own streams: a client library would cost more than some answers, and be measured with them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from muomni_cli.api import MuomniError, RequestError

QUESTION = "Tell me a story"
SENTENCE = "The train to the coast leaves at seven."
START = 120.0  # seconds until a server that is started must listen
KINDS = ("chat", "speech")
DIFFERENT = 50  # requests of a kind
CHANGED = "another answer than alone"
HEADINGS = (
    *("kind", "clients", "requests", "failures", "hung up", "as alone", "requests/s"),
    *("first p50", "p95", "whole p50", "p95 (ms)", "memory (MB)"),
)
SETTLED = 0.1  # share of the requests after which the memory of the server counts as that of a busy one


@dataclass(frozen=True, slots=True)
class Load:
    """How a server is asked: ``clients`` at once, until there are ``requests`` answers or ``seconds`` have passed."""

    clients: int = 1
    requests: int = 100
    seconds: float = 60.0
    text: str | None = None
    key: str = ""
    hang_up: float = 0.0  # share of the requests whose client leaves in the middle of the answer
    check: bool = False  # whether answers are compared with those of the same requests alone

    def leaves(self, number: int) -> int | None:
        """After how many pieces the client of a request hangs up; None if it stays."""
        drawn = random.Random(number)  # the same in every bench
        return drawn.randrange(1, 8) if drawn.random() < self.hang_up else None

    def body(self, kind: str, model: str, number: int) -> tuple[str, dict[str, Any]]:
        """Path and body of a request. Those of a bench differ by their seed alone, of which there are
        :data:`DIFFERENT`."""
        number %= DIFFERENT
        if kind == "chat":
            message = {"role": "user", "content": self.text or QUESTION}
            asked = {"messages": [message], "stream": True, "temperature": 1, "max_tokens": 32}
            return "/v1/chat/completions", {"model": model, "seed": number, **asked}
        asked = {"input": self.text or SENTENCE, "response_format": "pcm"}
        return "/v1/audio/speech", {"model": model, "seed": number, **asked}


@dataclass(slots=True)
class LoadResult:
    """What was measured, in seconds since each request. ``first``: until its first bytes of content: the first token
    of a chat, the first sound of speech. ``left``: requests whose client hung up. ``equal``: answers that are those of
    the same request alone. ``memory``: of the server in MB, once a tenth of the requests was made and at the end."""

    kind: str
    clients: int
    seconds: float = 0.0
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    left: int = 0
    equal: int | None = None
    memory: tuple[float, float] | None = None

    @property
    def row(self) -> tuple[str, ...]:
        """Of a table with :data:`HEADINGS`."""
        times = [1000 * percentile(values, share) for values in (self.first, self.whole) for share in (50, 95)]
        alone = "-" if self.equal is None else str(self.equal)
        memory = "-" if self.memory is None else f"{self.memory[0]:.1f} to {self.memory[1]:.1f}"
        counts = (str(len(self.whole)), str(sum(self.failures.values())), str(self.left), alone)
        return (self.kind, str(self.clients), *counts, f"{self.rate:.2f}", *(f"{ms:.1f}" for ms in times), memory)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.whole) / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """Milliseconds, by percentile."""
        places = {f"{name}_{share}_ms": round(1000 * percentile(values, share), 1)
                  for name, values in (("first", self.first), ("whole", self.whole)) for share in (50, 95)}  # fmt: skip
        counts: dict[str, Any] = {"clients": self.clients, "requests": len(self.whole), "failures": self.failures}
        counts |= {"hung_up": self.left} if self.left else {}
        counts |= {} if self.equal is None else {"as_alone": self.equal}
        counts |= {} if self.memory is None else {"memory_mb": list(self.memory)}
        return {"kind": self.kind, **counts, "requests_per_second": round(self.rate, 2), **places}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` percent of the values do not exceed; NaN if there are none."""
    if not values:
        return float("nan")
    return sorted(values)[max(0, -(-len(values) * int(share) // 100) - 1)]


@dataclass(frozen=True, slots=True)
class BenchServer:
    """A server's address, and its process if the bench started it."""

    url: str
    process: int | None = None

    def memory(self) -> float | None:
        """Resident memory of the process in MB; None if it is not known."""
        try:
            status = Path(f"/proc/{self.process}/status").read_text(encoding="ascii")
        except OSError:
            return None
        return next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmRSS:"))


@contextmanager
def server_of(model: str | None) -> Iterator[BenchServer]:
    """A server for ``model`` in a process of its own. MuomniError if it does not start."""
    command = [sys.executable, "-m", "muomni_cli", "serve", "--port", "0", *(["-m", model] if model else [])]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = ""
        until = time.monotonic() + START
        while time.monotonic() < until and (line := process.stderr.readline()):
            said += line
            if line.startswith("serving "):
                yield BenchServer(line.split(" on ")[1].split("/v1")[0], process.pid)
                return
        reason = " ".join(said.split()) or "it said nothing"
        raise MuomniError(f"the server did not start: {reason}", "start it with muomni serve, and name it with --url")
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


def measure(server: BenchServer, kinds: Sequence[str], load: Load, model: str | None = None) -> list[LoadResult]:
    """Ask a server for each of ``kinds``; one request of each is not counted. RequestError if it cannot be reached or
    has no such model; MuomniError if it answers the first request with an error."""
    return asyncio.run(_measure(server, kinds, load, model))


async def _measure(server: BenchServer, kinds: Sequence[str], load: Load, model: str | None) -> list[LoadResult]:
    name = model or await _first_model(server.url, load)
    found = []
    for kind in kinds:
        warm = await _ask(server.url, load, *load.body(kind, name, 0))
        if warm.failure:
            raise MuomniError(f"{server.url} answers {kind} with an error: {warm.failure}", "see the log of the server")
        found.append(await _asked(server, kind, load, name))
    return found


async def _asked(server: BenchServer, kind: str, load: Load, model: str) -> LoadResult:
    result = LoadResult(kind, load.clients)
    alone: dict[int, str] = {}
    if load.check:
        result.equal = 0
        for number in range(min(DIFFERENT, load.requests)):
            alone[number] = (await _ask(server.url, load, *load.body(kind, model, number))).content
    settled: list[float | None] = []
    numbers = iter(range(load.requests))
    begin = time.perf_counter()

    async def client() -> None:
        for number in numbers:
            if time.perf_counter() - begin > load.seconds:
                return
            if number == int(load.requests * SETTLED):
                settled.append(server.memory())
            answer = await _ask(server.url, load, *load.body(kind, model, number), leaves=load.leaves(number))
            _count(result, answer, alone.get(number % DIFFERENT))

    await asyncio.gather(*(client() for _ in range(load.clients)))
    result.seconds = time.perf_counter() - begin
    first, last = (settled or [None])[0], server.memory()
    if first is not None and last is not None:
        result.memory = round(first, 1), round(last, 1)
    return result


def _count(result: LoadResult, answer: BenchAnswer, alone: str | None) -> None:
    failure = answer.failure
    if not failure and not answer.left and alone is not None and result.equal is not None:
        if answer.content == alone:
            result.equal += 1
        else:
            failure = CHANGED
    if failure:
        result.failures[failure] = result.failures.get(failure, 0) + 1
    elif answer.left:
        result.left += 1
    else:
        result.first.append(answer.first)
        result.whole.append(answer.whole)


@dataclass(slots=True)
class BenchAnswer:
    """Seconds until the first content and until the end, a digest of the content, what failed (empty if nothing did),
    and whether the client left."""

    first: float = 0.0
    whole: float = 0.0
    content: str = ""
    failure: str = ""
    left: bool = False


async def _ask(url: str, load: Load, path: str, body: Mapping[str, Any], *, leaves: int | None = None) -> BenchAnswer:
    """``leaves``: the client hangs up after so many pieces."""
    begin = time.perf_counter()
    answer, digest, pieces = BenchAnswer(), hashlib.sha256(), 0
    try:
        async with aclosing(_exchange(url, load.key, "POST", path, body)) as exchange:
            async for status, piece in exchange:
                if status != 200:
                    return BenchAnswer(failure=f"status {status}")
                if b'"error":{' in piece:
                    return BenchAnswer(failure="an error within the stream")
                content = piece if "speech" in path else _said(piece)
                digest.update(content)
                if not answer.first and content:
                    answer.first = time.perf_counter() - begin
                pieces += 1
                if pieces == leaves:
                    return BenchAnswer(left=True)
    except (OSError, EOFError, ValueError) as error:
        return BenchAnswer(failure=type(error).__name__)
    answer.whole = time.perf_counter() - begin
    answer.first, answer.content = answer.first or answer.whole, digest.hexdigest()
    return answer


def _said(piece: bytes) -> bytes:
    """The text in events of a chat's stream."""
    said = ""
    for line in piece.splitlines():
        if line.startswith(b"data: {"):
            choices = json.loads(line[len(b"data: ") :])["choices"]
            said += "".join(choice["delta"].get("content") or "" for choice in choices)
    return said.encode()


async def _first_model(url: str, load: Load) -> str:
    try:
        answer = [piece async for piece in _exchange(url, load.key, "GET", "/v1/models", None)]
        return str(json.loads(b"".join(piece for _, piece in answer))["data"][0]["id"])
    except (OSError, EOFError, ValueError, LookupError) as error:
        raise RequestError(f"{url} is not a server that lists its models", "start one: muomni serve") from error


async def _exchange(
    url: str, key: str, method: str, path: str, body: Mapping[str, Any] | None
) -> AsyncGenerator[tuple[int, bytes]]:
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
