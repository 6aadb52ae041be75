"""What a loudspeaker is given, block by block, and how much of it was heard."""

from __future__ import annotations

from collections import deque
from threading import Lock

import numpy as np
from numpy.typing import NDArray

FADE = 0.005  # seconds in which playback that is stopped becomes silent, so that it does not click


class Playback:
    """A queue of samples between a program and an audio device, which takes them in a thread and at a pace of its own.

    Args:
        rate: sample rate in Hz.
        latency: seconds from :meth:`take` until the samples are heard.
    """

    def __init__(self, rate: int, latency: float = 0.0) -> None:
        self.rate, self.latency = rate, latency
        self._lock = Lock()
        self._queue: deque[NDArray[np.float32]] = deque()
        self._taken = 0  # samples since :meth:`begin`

    @property
    def playing(self) -> bool:
        """Whether something is left to play."""
        return bool(self._queue)

    @property
    def heard(self) -> float:
        """Seconds since :meth:`begin` that were heard."""
        return max(0.0, self._taken / self.rate - self.latency)

    def begin(self) -> None:
        """What is added from now on is counted anew. What is left of before is dropped."""
        with self._lock:
            self._queue.clear()
            self._taken = 0

    def add(self, samples: NDArray[np.float32]) -> None:
        """Samples (n,), full scale 1, to play after those before."""
        if samples.size:
            with self._lock:
                self._queue.append(samples)

    def take(self, count: int) -> NDArray[np.float32]:
        """The next (count,) samples for the device; silence where there are none."""
        block = np.zeros(count, np.float32)
        with self._lock:
            place = 0
            while self._queue and place < count:
                first = self._queue.popleft()
                used = first[: count - place]
                block[place : place + used.size] = used
                place += used.size
                if used.size < first.size:
                    self._queue.appendleft(first[used.size :])
            self._taken += place
        return block

    def stop(self) -> float:
        """Play nothing more but a few milliseconds, which fade out; the seconds that were heard."""
        with self._lock:
            kept = round(FADE * self.rate)
            rest = np.concatenate([np.zeros(0, np.float32), *self._queue])[:kept]
            self._queue.clear()
            if rest.size:
                self._queue.append(rest * np.linspace(1, 0, rest.size, endpoint=False, dtype=np.float32))
        return self.heard
