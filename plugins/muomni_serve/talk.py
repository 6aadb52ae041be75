"""``muomni talk``: a live conversation with microphone and loudspeaker.

The audio device has a thread and a clock of its own: it brings a block of the microphone and takes one for the
loudspeaker, whatever the rest of the program does. Use headphones: the microphone must not hear the loudspeaker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from muomni_cli import Model
from muomni_cli.api import MuomniError, RequestError, console
from muomni_cli.audio.devices import BLOCK, open_stream, portaudio
from muomni_cli.audio.dsp import ResamplingStream
from muomni_serve.errors import ApiError
from muomni_serve.live import LiveConversation, LiveSettings
from muomni_serve.live_answer import warm_up
from muomni_serve.live_events import (
    HeardAll,
    LiveEvent,
    LiveResponse,
    ResponseAudio,
    ResponseBegun,
    ResponseEnded,
    ResponseText,
    TurnBegun,
)
from muomni_serve.playback import Playback
from muomni_serve.turn_detection import RATE, Wave
from muomni_serve.worker import ModelWorker

COMMAND = "muomni talk"  # for messages
PATIENCE = 600.0  # seconds for an answer
COMMON_RATES = (RATE, 48_000, 44_100)  # tried in this order where a device does not say its own

Show = Callable[[str], None]


class Talk:
    """A live conversation that is heard through a :class:`Playback`, and interrupted by speech.

    When a turn begins while an answer is played, the playback stops within one block of the device, and the
    conversation remembers what was heard of the answer.

    Args:
        worker: of the model.
        model: tells what it can do.
        playback: at the model's sample rate.
        settings: of the conversation.
        show: called with lines to print.
    """

    def __init__(
        self, worker: ModelWorker, model: Model, playback: Playback, settings: LiveSettings, show: Show
    ) -> None:
        self._playback, self._show = playback, show
        self._played: LiveResponse | None = None  # what the playback plays
        self.interruptions = 0
        self.conversation = LiveConversation(worker, model.capabilities, model.sample_rate, self._tell, settings)

    def hear(self, samples: Wave) -> None:
        """Samples (n,) at 16 kHz of the microphone; in the event loop."""
        self.conversation.hear(samples)

    def _tell(self, event: LiveEvent) -> None:
        if isinstance(event, TurnBegun):
            self._interrupt()
        elif isinstance(event, HeardAll):
            text = event.error.message if event.error is not None else event.item.text
            self._show(f"> {text}" if text else "> (nothing was understood)")
        elif isinstance(event, ResponseBegun):
            self._playback.begin()
            self._played = event.response
        elif isinstance(event, ResponseAudio):
            self._playback.add(event.samples)
        elif isinstance(event, ResponseEnded) and event.response.status != "cancelled":
            error = event.response.error
            self._show(error.message if error is not None else event.response.item.text.strip())
        elif isinstance(event, ResponseText):
            pass  # shown when it is complete, since it is heard meanwhile

    def _interrupt(self) -> None:
        """Somebody speaks: what is played ends, and what was not heard is forgotten."""
        response, self._played = self._played, None
        if response is None or (response.status != "in_progress" and not self._playback.playing):
            return
        heard = self._playback.stop()
        self.interruptions += 1
        if response.status == "in_progress":
            self.conversation.cancel("turn_detected")
        with suppress(ApiError):  # the answer may have been forgotten, because nothing of it was made
            self.conversation.truncate(response.item.id, min(heard, response.item.seconds))
        self._show(f"{response.item.text.strip()} ...")


class SoundDevice:
    """Microphone and loudspeaker by PortAudio (the package ``sounddevice``).

    Args:
        rate: of the samples to play.
        microphone: name or number of the device; None for the system's choice.
        loudspeaker: likewise.

    Raises:
        MuomniError: the package or PortAudio is missing, or a device cannot be opened.
    """

    def __init__(self, rate: int, microphone: str | None = None, loudspeaker: str | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._hear: Callable[[Wave], None] = lambda _: None
        self._input = open_stream("microphone", microphone, self._recorded, COMMON_RATES, COMMAND)
        self._output = open_stream("loudspeaker", loudspeaker, self._played, COMMON_RATES, COMMAND)
        self._incoming = ResamplingStream(round(self._input.samplerate), RATE)
        self._outgoing = ResamplingStream(rate, round(self._output.samplerate))
        self._rest = np.zeros(0, np.float32)
        self.playback = Playback(rate, float(self._output.latency))

    def start(self, hear: Callable[[Wave], None]) -> None:
        """Begin to record and to play; ``hear`` is called in the event loop with samples (n,) at 16 kHz."""
        self._hear = hear
        self._input.start()
        self._output.start()

    def close(self) -> None:
        """Stop, and release the devices."""
        for stream in (self._input, self._output):
            stream.close()

    def _recorded(self, block: Any, frames: int, time: object, status: object) -> None:  # noqa: ARG002
        samples = self._incoming.push(block[:, 0].copy())
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._hear, samples)

    def _played(self, block: Any, frames: int, time: object, status: object) -> None:  # noqa: ARG002
        while self._rest.size < frames:
            taken = self.playback.take(round(BLOCK * self.playback.rate))
            self._rest = np.concatenate([self._rest, self._outgoing.push(taken)])
        block[:, 0], self._rest = self._rest[:frames], self._rest[frames:]


def devices() -> list[tuple[int, str, int, int]]:
    """Number, name, and channels in and out of the audio devices. MuomniError if there is none, and as of
    :class:`SoundDevice`."""
    found = portaudio(COMMAND).query_devices()
    if not found:
        raise MuomniError("this machine has no microphone and no loudspeaker", "connect one, and run the command again")
    return [(one["index"], one["name"], one["max_input_channels"], one["max_output_channels"]) for one in found]


def talk(model: Model, settings: LiveSettings, microphone: str | None = None, loudspeaker: str | None = None) -> None:
    """Talk until Ctrl-C. RequestError for a model that cannot; MuomniError as of :class:`SoundDevice`."""
    missing = [name for name in ("chat", "speak", "transcribe") if name not in model.capabilities]
    if missing:
        raise RequestError(
            f"{model.label} cannot {' or '.join(missing)}", "talk to a model that can: muomni talk -m nano"
        )
    with suppress(KeyboardInterrupt):
        asyncio.run(_talk(model, settings, microphone, loudspeaker))


async def _talk(model: Model, settings: LiveSettings, microphone: str | None, loudspeaker: str | None) -> None:
    worker = ModelWorker(lambda: model, float("inf"), 64, PATIENCE)
    device = SoundDevice(model.sample_rate, microphone, loudspeaker)
    try:
        one = Talk(worker, model, device.playback, settings, console.say)
        await warm_up(worker)
        device.start(one.hear)
        console.say("speak; Ctrl-C ends the conversation (use headphones)")
        try:
            await asyncio.Event().wait()
        finally:
            await one.conversation.close()
    finally:
        device.close()
        worker.close()
