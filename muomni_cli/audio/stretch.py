"""Time-scale modification: faster or slower speech at the same pitch, streaming.

WSOLA (Verhelst and Roelands 1993): windows are taken from the input at another pace than they are laid down, each from
where it continues the one before best. Shapes: N samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP = 0.0125  # seconds between windows, which are twice as long
SEARCH = 0.0125  # seconds by which a window may be moved to either side: a period of the lowest voices


class TimeStretch:
    """Streaming (N,) samples -> about N / ``speed``; an ``ArrayStream``, reusable after :meth:`finish`. The output does
    not depend on how the input is split."""

    def __init__(self, rate: int, speed: float) -> None:
        self._speed = speed
        self._step, self._search = max(1, round(rate * STEP)), max(1, round(rate * SEARCH))
        self._window = np.hanning(2 * self._step + 1)[:-1].astype(np.float32)
        self._begin()

    def _begin(self) -> None:
        self._held = np.zeros(0, np.float32)  # input from sample `_start` on
        self._start = self._given = 0  # samples of the input: forgotten, and received
        self._windows = self._returned = 0
        self._place = 0  # sample at which the last window was taken
        self._tail = self._held  # its second half

    def push(self, piece: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,) -> the samples that no later input changes."""
        self._given += piece.size
        self._held = np.concatenate([self._held, piece])
        made = self._stretched(finished=False)
        self._returned += made.size
        return made

    def finish(self) -> NDArray[np.float32]:
        """The rest: in all the input's length divided by the speed, rounded."""
        wanted = round(self._given / self._speed) - self._returned
        rest = np.concatenate([self._stretched(finished=True), self._tail])[:wanted]
        self._begin()
        return rest

    def _stretched(self, *, finished: bool) -> NDArray[np.float32]:
        step, made = self._step, [self._held[:0]]
        while (aim := self._aim) < self._given:
            last = max(aim + self._search, self._place + step) + 2 * step  # of the input that decides this window
            if not finished and last > self._given:
                break
            place = self._best(aim) if self._windows else 0
            taken = self._taken(place, 2 * step)
            laid = taken * self._window
            made.append(self._tail + laid[:step] if self._windows else taken[:step])
            self._tail, self._place = laid[step:], place
            self._windows += 1
            forgotten = max(self._start, min(place + step, self._aim - self._search))
            self._held, self._start = self._held[forgotten - self._start :], forgotten
        return np.concatenate(made)

    @property
    def _aim(self) -> int:
        """Where the next window would be taken at an even pace."""
        return round(self._windows * self._step * self._speed)

    def _best(self, aim: int) -> int:
        """The place nearby whose window is most like what follows the last one (normalized cross-correlation)."""
        size, low = 2 * self._step, max(0, aim - self._search)
        wanted = self._taken(self._place + self._step, size)
        region = self._taken(low, aim + self._search - low + size)
        sums = np.cumsum(np.concatenate([[0.0], region.astype(np.float64) ** 2]))
        energy = sums[size:] - sums[:-size]
        likeness = np.correlate(region, wanted, "valid") / np.sqrt(np.maximum(energy, 1e-9))
        return low + int(likeness.argmax())

    def _taken(self, place: int, count: int) -> NDArray[np.float32]:
        """(count,) of the input from sample ``place`` on; silence follows its end."""
        kept = self._held[place - self._start : place - self._start + count]
        return np.pad(kept, (0, count - kept.size))
