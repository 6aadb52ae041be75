"""What Home Assistant gets over Wyoming, by the protocol's own client."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterator
from typing import Any

import numpy as np
import pytest
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeVoice

from muomni_cli import Model
from muomni_cli.api import MuomniError, RequestError
from muomni_cli.audio.encoding import as_bytes
from muomni_serve.wyoming_server import WyomingServer, address_of
from tests.serve.running import Served, serving

TEXT = "Hello there. It is 5 o'clock, so go to bed."


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(wyoming="tcp://127.0.0.1:0", max_text=200, max_audio=20.0) as one:
        yield one


def connected(served: Served, talk: Any) -> Any:
    """What ``talk(client)`` gives."""

    async def run() -> Any:
        async with asyncio.timeout(60), AsyncClient.from_uri(served.wyoming) as client:
            return await talk(client)

    return asyncio.run(run())


async def until(client: AsyncClient, last: str) -> list[Event]:
    """All events up to the one of that type, or an error."""
    found: list[Event] = []
    while not found or found[-1].type not in (last, "error"):
        event = await client.read_event()
        assert event is not None, f"the server hung up before {last}"
        found.append(event)
    return found


def audio_of(events: list[Event]) -> bytes:
    assert [one.type for one in events].count("audio-start") == 1
    return b"".join(AudioChunk.from_event(one).audio for one in events if AudioChunk.is_type(one.type))


def test_the_server_describes_itself(served: Served) -> None:
    async def talk(client: AsyncClient) -> Info:
        await client.write_event(Event("a-type-of-tomorrow", {"x": 1}))
        await client.write_event(Ping("here").event())
        pong = await client.read_event()
        assert pong is not None
        assert Pong.from_event(pong).text == "here"
        await client.write_event(Describe().event())
        event = await client.read_event()
        assert event is not None
        return Info.from_event(event)

    info = connected(served, talk)
    assert [one.name for one in info.asr[0].models] == ["nano"]
    assert [one.name for one in info.tts[0].voices] == ["nano-slt"]
    assert [one.name for one in info.handle[0].models] == ["nano"]
    assert info.asr[0].supports_transcript_streaming
    assert info.tts[0].supports_synthesize_streaming
    assert info.handle[0].supports_handled_streaming


def test_speech_is_recognized_as_in_a_file(served: Served, nano: Model, question: Any) -> None:
    stereo = np.repeat(np.frombuffer(as_bytes(question), "<i2"), 2).tobytes()

    async def hear(client: AsyncClient, pcm: bytes, channels: int, piece: int) -> str:
        await client.write_event(Transcribe(language="en").event())
        await client.write_event(AudioStart(16_000, 2, channels).event())
        for place in range(0, len(pcm), piece):
            await client.write_event(AudioChunk(16_000, 2, channels, pcm[place : place + piece]).event())
        await client.write_event(AudioStop().event())
        events = await until(client, "transcript-stop")
        assert [one.type for one in events][-4:] == ["transcript-start", "transcript-chunk", "transcript",
                                                     "transcript-stop"]  # fmt: skip
        return Transcript.from_event(events[-2]).text

    async def talk(client: AsyncClient) -> list[str]:
        return [await hear(client, as_bytes(question), 1, 2002), await hear(client, stereo, 2, 4004)]

    heard = nano.transcribe((np.frombuffer(as_bytes(question), "<i2"), 16_000))
    assert heard
    assert connected(served, talk) == [heard, heard]


def test_a_text_is_answered_as_in_chat(served: Served, nano: Model) -> None:
    async def talk(client: AsyncClient) -> list[Event]:
        await client.write_event(Transcript("Tell me a story").event())
        return await until(client, "handled-stop")

    events = connected(served, talk)
    pieces = "".join(one.data["text"] for one in events if one.type == "handled-chunk")
    assert pieces.strip() == next(one.data["text"] for one in events if one.type == "handled")
    assert pieces == nano.chat("Tell me a story")


def test_a_text_in_pieces_is_spoken_once_and_like_a_whole_one(served: Served, nano: Model) -> None:
    drawn = random.Random(0)
    cuts = [sorted(drawn.sample(range(len(TEXT)), 5)) for _ in range(1)] + [list(range(1, len(TEXT)))]

    async def talk(client: AsyncClient) -> list[bytes]:
        await client.write_event(Synthesize(TEXT, SynthesizeVoice(name="nano-slt")).event())
        found = [audio_of(await until(client, "audio-stop"))]
        for places in cuts:
            await client.write_event(SynthesizeStart().event())
            for begin, end in zip([0, *places], [*places, len(TEXT)], strict=True):
                await client.write_event(SynthesizeChunk(TEXT[begin:end]).event())
            await client.write_event(Synthesize(TEXT).event())  # for servers that do not stream
            await client.write_event(SynthesizeStop().event())
            found.append(audio_of(await until(client, "synthesize-stopped")))
        return found

    samples, rate = nano.speak(TEXT)
    assert rate == 16_000
    assert connected(served, talk) == [as_bytes(samples)] * (1 + len(cuts))


@pytest.mark.parametrize(
    ("events", "what"),
    [
        ([Synthesize("a" * 201).event()], "at most 200 are spoken"),
        ([Synthesize("a", SynthesizeVoice(name="zoe")).event()], "there is no voice 'zoe'"),
        ([AudioStart(16_000, 4, 1).event()], "audio of 32 bits"),
        ([Event("synthesize", {})], "synthesize is malformed"),
        ([Transcribe(name="other").event(), AudioStart(16_000, 2, 1).event()], "there is no model 'other'"),
        ([AudioChunk(8_000, 2, 1, bytes(16_000 * 21)).event()], "longer than 20 seconds"),
    ],
)
def test_what_cannot_be_done_is_an_error_event(served: Served, events: list[Event], what: str) -> None:
    async def talk(client: AsyncClient) -> Event:
        for event in events:
            await client.write_event(event)
        found = (await until(client, "error"))[-1]
        await client.write_event(Describe().event())  # the connection goes on
        assert (await until(client, "info"))[-1].type == "info"
        return found

    assert what in connected(served, talk).data["text"]


def test_clients_that_hang_up_leave_nothing_behind(served: Served) -> None:
    async def talk(client: AsyncClient) -> None:
        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeChunk("Hello there. ").event())
        await client.write_event(AudioStart(16_000, 2, 1).event())

    for _ in range(3):
        connected(served, talk)
    assert connected(served, _described)
    from tests.serve.running import until as wait

    wait(lambda: served.waiting == 0, "nothing waits")


def _described(client: AsyncClient) -> Coroutine[Any, Any, list[Event]]:
    async def ask() -> list[Event]:
        await client.write_event(Describe().event())
        return await until(client, "info")

    return ask()


def test_an_address_that_is_taken_is_named(served: Served) -> None:
    async def begin() -> None:
        with pytest.raises(MuomniError, match="cannot be listened on"):
            await WyomingServer(served.service, served.wyoming).start()

    asyncio.run(begin())


def test_addresses() -> None:
    assert address_of("tcp://127.0.0.1:10200") == ("127.0.0.1", 10200)
    assert address_of("tcp://[::1]:0") == ("::1", 0)
    for wrong in ("127.0.0.1:10200", "unix:///tmp/x", "tcp://host", "tcp://host:99999", "tcp://h:1/x"):
        with pytest.raises(RequestError, match="is not an address for Wyoming"):
            address_of(wrong)
