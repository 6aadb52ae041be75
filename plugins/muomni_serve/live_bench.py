"""``muomni bench talk``: how soon a live conversation answers, and whether it interrupts itself.

Dialogues are made: questions in a voice of the model go into a microphone, which hears nothing else. Microphone and
loudspeaker are a device that keeps time by itself, block by block, as a sound card does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from threading import Event, Thread
from typing import Any

import numpy as np

from muomni_cli import Model
from muomni_cli.audio.devices import BLOCK
from muomni_cli.audio.dsp import resample
from muomni_serve.bench import percentile
from muomni_serve.live import LiveSettings
from muomni_serve.live_answer import AnswerSettings, warm_up
from muomni_serve.live_events import LiveEvent, ResponseEnded, TurnBegun, TurnEnded
from muomni_serve.playback import Playback
from muomni_serve.talk import Talk
from muomni_serve.turn_detection import RATE, Wave
from muomni_serve.worker import ModelWorker

SILENCE = 0.4  # seconds between the dialogues
LOUD = 0.02  # share of its peak below which a question is silent
NOISE = 0.001  # standard deviation of what the microphone hears besides speech
PATIENCE = 15.0  # seconds for an answer

ASKED = ("What color is", "Where is", "Tell me about", "How big is", "Why do people like")
ABOUT = ("the sky?", "the sea?", "a cat?", "the moon?", "bread?", "a big house?", "the old town?", "winter?")


@dataclass(slots=True)
class TalkResult:
    """What was measured, in seconds.

    ``from_speech``: from the last sound of a question to the first of its answer. ``from_turn``: from when the turn was
    taken for ended. ``cpu``: processor time of the process meanwhile, which hardly depends on other programs.
    ``unanswered``: questions of which nothing was understood. ``interruptions``: answers that were cut off, as by the
    rest of a question that pauses for longer than a turn does; ``false_interruptions``: those while nobody spoke.
    """

    dialogues: int = 0
    from_speech: list[float] = field(default_factory=list)
    from_turn: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    unanswered: int = 0
    interruptions: int = 0
    false_interruptions: int = 0
    played: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Milliseconds, by percentile."""
        places = {
            f"{name}_p{share}_ms": round(1000 * percentile(values, share), 1)
            for name, values in (
                ("speech_to_sound", self.from_speech),
                ("turn_to_sound", self.from_turn),
                ("turn_to_sound_cpu", self.cpu),
            )
            for share in (50, 95)
        }
        counts = {"dialogues": self.dialogues, "answered": len(self.from_turn), "unanswered": self.unanswered}
        cut = {"interruptions": self.interruptions, "false_interruptions": self.false_interruptions}
        heard = {**cut, "seconds_played": round(self.played, 1)}
        return {**counts, **places, **heard}


class PacedDevice:
    """A microphone and a loudspeaker in a thread that keeps time: a block each, every :data:`BLOCK` seconds.

    Args:
        hear: called in the event loop with what the microphone brings, (n,) at 16 kHz.
        playback: what is played.
    """

    def __init__(self, hear: Callable[[Wave], None], playback: Playback) -> None:
        self._loop = asyncio.get_running_loop()
        self._hear, self._playback = hear, playback
        self._noise = np.random.default_rng(0)
        self._speech = np.zeros(0, np.float32)
        self._stopped = Event()
        self._said: list[bool] = []  # of each block, whether speech was in it
        self.spoken = self.sounded = 0.0  # when the last block of speech was heard, and the first of an answer
        self.sounded_cpu = 0.0  # processor time then
        self._thread = Thread(target=self._run, name="muomni-device", daemon=True)
        self._thread.start()

    def say(self, speech: Wave) -> None:
        """Samples (N,) at 16 kHz for the microphone."""
        self.spoken = self.sounded = 0.0
        self._speech = speech

    def speech_between(self, begin: float, end: float) -> bool:
        """Whether speech was in the microphone's audio between these seconds of it."""
        return any(self._said[int(begin / BLOCK) : int(end / BLOCK) + 1])

    def close(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        size, begin, blocks = round(BLOCK * RATE), time.perf_counter(), 0
        while not self._stopped.is_set():
            blocks += 1
            time.sleep(max(0.0, begin + blocks * BLOCK - time.perf_counter()))
            said, self._speech = self._speech[:size], self._speech[size:]
            block = self._noise.normal(scale=NOISE, size=size).astype(np.float32)
            block[: said.size] += said
            self._said.append(bool(said.size))
            if said.size:
                self.spoken = time.perf_counter()
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._hear, block)
            played = self._playback.take(round(BLOCK * self._playback.rate))
            if self.spoken and not self.sounded and played.any():
                self.sounded, self.sounded_cpu = time.perf_counter(), time.process_time()


class _Measured(Talk):
    """A talk that notes when turns and answers end, and what interrupted an answer."""

    device: PacedDevice | None = None
    false_interruptions = 0
    turn_ended = turn_ended_cpu = 0.0
    ended = 0

    def _tell(self, event: LiveEvent) -> None:
        if isinstance(event, TurnEnded):
            self.turn_ended, self.turn_ended_cpu = time.perf_counter(), time.process_time()
        elif isinstance(event, ResponseEnded):
            self.ended += 1
        before = self.interruptions
        super()._tell(event)
        if isinstance(event, TurnBegun) and self.interruptions > before:
            assert self.device is not None
            spoken = self.device.speech_between(event.seconds, self.conversation.heard_seconds)
            self.false_interruptions += not spoken


def measure_talk(model: Model, dialogues: int) -> TalkResult:
    """Hold so many dialogues, of a question and its answer each, in real time. RequestError for a model that cannot
    talk."""
    return asyncio.run(_measure(model, dialogues))


async def _measure(model: Model, dialogues: int) -> TalkResult:
    texts = [f"{asked} {about}" for about, asked in product(ABOUT, ASKED)]
    worker = ModelWorker(lambda: model, float("inf"), 64, PATIENCE)
    playback = Playback(model.sample_rate)
    settings = LiveSettings(answer=AnswerSettings(seed=0, max_tokens=24))
    talk = _Measured(worker, model, playback, settings, lambda _: None)
    result = TalkResult()
    await warm_up(worker)
    talk.device = device = PacedDevice(talk.hear, playback)
    try:
        for number in range(dialogues):
            samples, rate = model.speak(texts[number % len(texts)], seed=number)
            question = resample(samples, rate, RATE)
            loud = np.flatnonzero(np.abs(question) > LOUD * np.abs(question).max())
            await _dialogue(talk, playback, device, question[: loud[-1] + 1], result)
    finally:
        device.close()
        await talk.conversation.close()
        worker.close()
    result.interruptions, result.false_interruptions = talk.interruptions, talk.false_interruptions
    return result


async def _dialogue(
    talk: _Measured, playback: Playback, device: PacedDevice, question: Wave, result: TalkResult
) -> None:
    result.dialogues += 1
    talk.turn_ended, before = 0.0, talk.ended
    await asyncio.sleep(SILENCE)
    device.say(question)
    until = time.perf_counter() + question.size / RATE + PATIENCE
    while time.perf_counter() < until and not (device.sounded and talk.ended > before and not playback.playing):
        await asyncio.sleep(0.02)
        understood = talk.conversation.items and talk.conversation.items[-1]
        if talk.turn_ended and understood and understood.role == "user" and understood.transcript is not None:
            done = understood.transcript.done() and not understood.text.strip()
            if done:
                break
    if device.sounded and talk.turn_ended:
        result.from_speech.append(device.sounded - device.spoken)
        result.from_turn.append(device.sounded - talk.turn_ended)
        result.cpu.append(device.sounded_cpu - talk.turn_ended_cpu)
        result.played += playback.heard
    else:
        result.unanswered += 1
