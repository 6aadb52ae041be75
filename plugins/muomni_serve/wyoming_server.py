"""``muomni serve --wyoming``: the protocol of Home Assistant's voice assistants.

Programs of the protocol: speech to text (``asr``), text to speech (``tts``), and answers to a text (``handle``). An
event that is not known is ignored, as the protocol wants it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, Eventable
from wyoming.handle import Handled, HandledChunk, HandledStart, HandledStop, NotHandled
from wyoming.info import AsrModel, AsrProgram, Attribution, HandleModel, HandleProgram, Info, TtsProgram
from wyoming.info import TtsVoice as WyomingVoice
from wyoming.ping import Ping, Pong
from wyoming.server import AsyncEventHandler
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStopped, SynthesizeVoice

from muomni_cli import Model, __version__
from muomni_cli.api import Message, MuomniError, RequestError
from muomni_cli.audio.dsp import ResamplingStream
from muomni_cli.audio.encoding import as_bytes
from muomni_serve.errors import ApiError, from_failure
from muomni_serve.model_thread import beside
from muomni_serve.service import ServedModel, Service
from muomni_serve.turn_detection import RATE, Wave
from muomni_serve.turn_recognition import TurnRecognition, samples_of
from muomni_serve.worker import EventStream

LOG = logging.getLogger("muomni.serve")
SOURCE = Attribution("muomni", "")
Handler = Callable[[Event], Coroutine[Any, Any, None]]


def address_of(uri: str) -> tuple[str, int]:
    """Host and port of ``tcp://HOST:PORT``. RequestError if it is something else."""
    try:
        place = urlsplit(uri)
        host, port = place.hostname, place.port
    except ValueError:
        host, port = None, None
    if not host or port is None or place.scheme != "tcp" or place.path not in ("", "/"):
        raise RequestError(f"{uri!r} is not an address for Wyoming", "give one such as tcp://127.0.0.1:10200")
    return host, port


class WyomingServer:
    """Serves the protocol on a TCP address."""

    def __init__(self, service: Service, uri: str) -> None:
        self._service = service
        self.host, self._port = address_of(uri)
        self._server: asyncio.Server | None = None
        self._clients: set[WyomingClient] = set()

    @property
    def uri(self) -> str:
        """Where it listens, once it has begun."""
        port = self._server.sockets[0].getsockname()[1] if self._server is not None else self._port
        return f"tcp://{f'[{self.host}]' if ':' in self.host else self.host}:{port}"

    async def start(self) -> None:
        """Begin to listen. MuomniError if the address cannot be had."""
        try:
            self._server = await asyncio.start_server(self._connected, self.host, self._port)
        except OSError as error:
            raise MuomniError(
                f"{self.host}:{self._port} cannot be listened on: {error.strerror or error}",
                "give another address with --wyoming, or end the program that uses it",
            ) from error

    async def close(self) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.close()
            for client in list(self._clients):
                await client.stop()
            await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= self._service.settings.queue:
            writer.close()
            return
        client = WyomingClient(self._service, reader, writer)
        self._clients.add(client)
        try:
            await client.run()
        except (OSError, ValueError, KeyError, UnicodeDecodeError) as error:
            LOG.warning("a Wyoming client was disconnected: %s", error)
        finally:
            self._clients.discard(client)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


class WyomingClient(AsyncEventHandler):
    """One connection."""

    def __init__(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self._service = service
        self._recognition: TurnRecognition | None = None
        self._resampling: ResamplingStream | None = None
        self._format = (0, 0, 0)  # rate, bytes of a sample, channels
        self._seconds = 0.0  # of audio
        self._asked = Transcribe()
        self._text: StreamedText | None = None  # of speech that is being made
        self._speaking: asyncio.Task[None] | None = None
        self._handlers: Mapping[str, Handler] = {
            "describe": self._describe,
            "ping": self._ping,
            "transcribe": self._transcribe,
            "audio-start": self._audio_start,
            "audio-chunk": self._audio_chunk,
            "audio-stop": self._audio_stop,
            "transcript": self._handle,
            "synthesize": self._synthesize,
            "synthesize-start": self._synthesize_start,
            "synthesize-chunk": self._synthesize_chunk,
            "synthesize-stop": self._synthesize_stop,
        }

    async def handle_event(self, event: Event) -> bool:
        """Answer an event; what is wrong with it is answered by an error."""
        handler = self._handlers.get(event.type)
        if handler is None:
            LOG.info("a Wyoming event is ignored: %s", event.type)
            return True
        try:
            await handler(event)
        except ConnectionError:
            return False
        except Exception as error:
            malformed = isinstance(error, KeyError | TypeError | AttributeError)
            failure = ApiError(400, f"{event.type} is malformed: {error!r}") if malformed else from_failure(error)
            await self._send(Error(failure.message, failure.code))
        return True

    async def disconnect(self) -> None:
        """The client is gone: end what is being made for it."""
        if self._recognition is not None:
            self._recognition.abandon()
        if self._text is not None:
            self._text.end()
        if self._speaking is not None:
            self._speaking.cancel()
            with suppress(asyncio.CancelledError):
                await self._speaking

    async def _send(self, event: Eventable) -> None:
        await self.write_event(event.event())

    def _model(self, capability: str, name: str | None = None) -> ServedModel:
        """The model of that name, else the first that can do it. ApiError if there is none."""
        able = [one for one in self._service.models.values() if capability in one.entry.capabilities]
        found = next((one for one in able if name in (None, one.id)), None)
        if found is None:
            known = ", ".join(one.id for one in able) or "no model of this server can"
            raise ApiError(400, f"there is no model {name!r} that can {capability}: {known}", code="model_not_found")
        return found

    async def _describe(self, _: Event) -> None:
        await self._send(info_of(self._service))

    async def _ping(self, event: Event) -> None:
        await self._send(Pong(Ping.from_event(event).text))

    async def _transcribe(self, event: Event) -> None:
        self._asked = Transcribe.from_event(event)

    async def _audio_start(self, event: Event) -> None:
        begin = AudioStart.from_event(event)
        self._begin_audio(begin.rate, begin.width, begin.channels)

    def _begin_audio(self, rate: int, width: int, channels: int) -> None:
        if width != 2 or not 1 <= channels <= 8 or not 4_000 <= rate <= 192_000:
            given = f"audio of {8 * width} bits, {channels} channels at {rate} Hz"
            raise ApiError(400, f"{given} is not taken: send 16 bits, up to 8 channels, 4 to 192 kHz")
        if self._recognition is not None:
            self._recognition.abandon()
        model = self._model("transcribe", self._asked.name)
        self._format, self._seconds = (rate, width, channels), 0.0
        self._resampling = ResamplingStream(rate, RATE)
        self._recognition = TurnRecognition(model.worker, lambda _: None)

    async def _audio_chunk(self, event: Event) -> None:
        chunk = AudioChunk.from_event(event)
        form = (chunk.rate, chunk.width, chunk.channels)
        if self._recognition is None or form != self._format:
            self._begin_audio(*form)
        assert self._recognition is not None
        assert self._resampling is not None
        whole = len(chunk.audio) // (2 * chunk.channels) * 2 * chunk.channels
        samples: Wave = samples_of(chunk.audio[:whole]).reshape(-1, chunk.channels).mean(1)
        self._seconds += samples.size / chunk.rate
        if self._seconds > (most := self._service.settings.max_audio):
            self._recognition.abandon()
            self._recognition = None
            raise ApiError(413, f"the audio is longer than {most:g} seconds, the most that is taken: send less")
        self._recognition.push(self._resampling.push(samples))

    async def _audio_stop(self, _: Event) -> None:
        recognition, resampling = self._recognition, self._resampling
        self._recognition = None
        if recognition is None or resampling is None:
            return
        recognition.push(resampling.finish())
        text = await recognition.finish()
        language, self._asked = self._service.settings.language, Transcribe()
        await self._send(TranscriptStart(language=language))
        await self._send(TranscriptChunk(text))
        await self._send(Transcript(text, language=language))
        await self._send(TranscriptStop())

    async def _handle(self, event: Event) -> None:
        """Answer a text; the answer is told while it is made, and whole at the end."""
        asked = Transcript.from_event(event)
        model = self._model("chat")
        if not asked.text.strip():
            await self._send(NotHandled("", context=asked.context))
            return

        def answer(opened: Model, events: EventStream) -> None:
            for chunk in opened.reply([Message("user", asked.text)]):
                events.put(chunk.text)

        stream = model.worker.submit(answer)
        await self._send(HandledStart(context=asked.context))
        text = ""
        try:
            async for piece in stream:
                text += piece
                await self._send(HandledChunk(piece))
        except ApiError as error:
            await self._send(NotHandled(error.message, context=asked.context))
            return
        finally:
            stream.cancel()
        await self._send(Handled(text.strip(), context=asked.context))
        await self._send(HandledStop())

    async def _synthesize(self, event: Event) -> None:
        """Speak a whole text. One that ends a streamed text repeats it, for servers that do not stream: it is not
        spoken again."""
        if self._text is not None:
            return
        asked = Synthesize.from_event(event)
        await self._speak(asked.text, asked.voice)

    async def _synthesize_start(self, event: Event) -> None:
        if self._text is not None:
            self._text.end()
        if self._speaking is not None:
            await self._speaking
        asked = SynthesizeStart.from_event(event)
        self._text = StreamedText()
        self._speaking = asyncio.create_task(self._speak_streamed(self._text, asked.voice))

    async def _synthesize_chunk(self, event: Event) -> None:
        if self._text is not None:
            self._text.add(SynthesizeChunk.from_event(event).text, self._service.settings.max_text)

    async def _synthesize_stop(self, _: Event) -> None:
        text, self._text = self._text, None
        if text is None:
            return
        text.end()
        if self._speaking is not None:
            await self._speaking
        await self._send(SynthesizeStopped())

    async def _speak_streamed(self, text: StreamedText, voice: SynthesizeVoice | None) -> None:
        """Speak a text while it comes: the same speech as of the whole text."""
        try:
            model, name = self._voice(voice)
            stream = await beside(model.worker, lambda opened, events: _say(opened, events, text.pieces(), name))
            await self._play(stream, model.entry.sample_rate or RATE)
        except ConnectionError:
            pass
        except Exception as error:
            failure = from_failure(error)
            with suppress(ConnectionError):
                await self._send(Error(failure.message, failure.code))
        finally:
            text.end()

    async def _speak(self, text: str, voice: SynthesizeVoice | None) -> None:
        most = self._service.settings.max_text
        if len(text) > most:
            raise ApiError(400, f"the text has {len(text):,} characters, and at most {most:,} are spoken: send less")
        model, name = self._voice(voice)
        stream = model.worker.submit(lambda opened, events: _say(opened, events, [text], name))
        await self._play(stream, model.entry.sample_rate or RATE)

    def _voice(self, asked: SynthesizeVoice | None) -> tuple[ServedModel, str | None]:
        """Model and voice of a name in :func:`info_of`; the first if none is asked for. ApiError if there is none."""
        known = voices_of(self._service)
        wanted = asked.name if asked is not None else None
        if wanted is None:
            return self._model("speak"), None
        if wanted not in known:
            message = f"there is no voice {wanted!r}: there are {', '.join(known) or 'none'}"
            raise ApiError(400, message, code="invalid_value")
        return known[wanted]

    async def _play(self, stream: EventStream, rate: int) -> None:
        try:
            await self._send(AudioStart(rate, 2, 1))
            async for samples in stream:
                await self._send(AudioChunk(rate, 2, 1, as_bytes(samples)))
        finally:
            stream.cancel()
            with suppress(ConnectionError):
                await self._send(AudioStop())


def _say(model: Model, events: EventStream, text: Iterable[str], voice: str | None) -> None:
    """In a thread: the samples (n,) of a text, which may still come."""
    for samples in model.speech(text, voice=voice):
        events.put(samples)


class StreamedText:
    """A text that comes piece by piece from a client, for a thread that speaks it."""

    def __init__(self) -> None:
        self._pieces: SimpleQueue[str | None] = SimpleQueue()
        self._size = 0

    def add(self, text: str, most: int) -> None:
        """The next piece. ApiError once there are more than ``most`` characters."""
        self._size += len(text)
        if self._size > most:
            self.end()
            raise ApiError(400, f"the text has more than {most:,} characters, the most that are spoken: send less")
        self._pieces.put(text)

    def end(self) -> None:
        """No more pieces."""
        self._pieces.put(None)

    def pieces(self) -> Iterator[str]:
        """All pieces, each as soon as it is there."""
        while (piece := self._pieces.get()) is not None:
            yield piece


def voices_of(service: Service) -> dict[str, tuple[ServedModel, str | None]]:
    """Name -> model and voice: ``MODEL`` for a single voice without a name, otherwise ``MODEL-VOICE``."""
    return {
        f"{one.id}-{voice}" if voice else one.id: (one, voice or None)
        for one in service.models.values()
        if "speak" in one.entry.capabilities
        for voice in one.entry.voices or [""]
    }


def info_of(service: Service) -> Info:
    """What the server can do: a program of each kind, with all models that can do it."""
    languages = [service.settings.language]

    def about(name: str, text: str) -> dict[str, Any]:
        return {
            "name": name,
            "attribution": SOURCE,
            "installed": True,
            "description": text,
            "version": __version__,
        }

    able = {
        kind: [one.id for one in service.models.values() if kind in one.entry.capabilities]
        for kind in ("transcribe", "chat")
    }
    asr = [AsrModel(**about(name, f"{name} of muomni"), languages=languages) for name in able["transcribe"]]
    chat = [HandleModel(**about(name, f"{name} of muomni"), languages=languages) for name in able["chat"]]
    voices = [
        WyomingVoice(**about(name, f"{name} of muomni"), languages=languages, speakers=None)
        for name in voices_of(service)
    ]
    own = about("muomni", "models of muomni")
    return Info(
        asr=[AsrProgram(**own, models=asr, supports_transcript_streaming=True)] if asr else [],
        tts=[TtsProgram(**own, voices=voices, supports_synthesize_streaming=True)] if voices else [],
        handle=[HandleProgram(**own, models=chat, supports_handled_streaming=True)] if chat else [],
    )
