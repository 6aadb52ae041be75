"""Speech recognition of a turn while it is spoken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Thread

import numpy as np

from muomni_cli import Model
from muomni_cli.audio.encoding import FORMATS, encode
from muomni_serve.errors import ApiError, from_failure
from muomni_serve.media import RequestMedia
from muomni_serve.model_thread import opened
from muomni_serve.turn_detection import RATE, Wave
from muomni_serve.worker import ModelWorker

SHORTEST = 0.1  # seconds: what is shorter is lengthened by silence, because a recognizer needs a token


class TurnRecognition:
    """The words of one turn. Made in an event loop, which the methods belong to.

    A thread of its own takes the audio piece by piece, so that a long turn is nearly recognized when it ends, and other
    requests of the model are served meanwhile.

    Args:
        worker: of a model that transcribes.
        heard: called in the loop with each further piece of the transcript.
    """

    def __init__(self, worker: ModelWorker, heard: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._pieces: SimpleQueue[Wave | None] = SimpleQueue()
        self._heard = heard
        self._samples = 0
        self._abandoned = False
        self.text: asyncio.Future[str] = self._loop.create_future()
        self._task = asyncio.create_task(self._begin(worker))

    def push(self, samples: Wave) -> None:
        """The next samples (n,) of the turn, at 16 kHz."""
        self._samples += samples.size
        self._pieces.put(samples)

    def finish(self) -> asyncio.Future[str]:
        """No more samples; the transcript. ApiError if the recognition failed."""
        missing = round(SHORTEST * RATE) - self._samples
        if missing > 0:
            self._pieces.put(np.zeros(missing, np.float32))
        self._pieces.put(None)
        return self.text

    def abandon(self) -> None:
        """Nobody waits for the transcript any more."""
        self._abandoned = True
        self._pieces.put(None)
        self.text.cancel()

    async def _begin(self, worker: ModelWorker) -> None:
        try:
            model = await opened(worker)
        except ApiError as error:
            self._settle(error)
            return
        Thread(target=self._recognize, args=(model,), name="muomni-recognition", daemon=True).start()

    def _recognize(self, model: Model) -> None:
        found: list[str] = []
        failure: ApiError | None = None
        try:
            for word in model.words_of_pieces(self._taken(), RATE):
                found.append(word.text)
                if self._abandoned:
                    return
                self._call(self._heard, f" {word.text}" if len(found) > 1 else word.text)
        except Exception as error:
            failure = from_failure(error)
        self._call(self._settle, failure or " ".join(found))

    def _taken(self) -> Iterator[Wave]:
        while (piece := self._pieces.get()) is not None:
            yield piece

    def _call(self, function: Callable[..., None], value: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, value)
        except RuntimeError:  # the loop is closed: the program ends
            self._abandoned = True

    def _settle(self, result: str | ApiError) -> None:
        if self.text.done():
            return
        if isinstance(result, ApiError):
            self.text.set_exception(result)
            self.text.exception()  # a turn that nobody asks for may fail unseen
        else:
            self.text.set_result(result)


def recording(samples: Wave) -> RequestMedia:
    """A turn of samples (N,) at 16 kHz as a file, for a model that listens itself."""
    return RequestMedia("audio", "what was said", encode(samples, RATE, FORMATS["wav"]))


def samples_of(pcm: bytes) -> Wave:
    """16-bit little-endian samples as (n,), full scale 1. ValueError for half a sample."""
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
