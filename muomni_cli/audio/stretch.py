"""Time-scale modification of log-mel spectrograms: faster or slower speech at the same pitch, streaming.

A vocoder makes the samples afterwards, so that no period of the voice is repeated or cut out, and nothing has to be
aligned as in WSOLA (Verhelst and Roelands 1993) and phase vocoders (Laroche and Dolson 1999). Shapes: M mel frames,
F mel bins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class MelStretch:
    """Streaming (M,F) log-mel -> (round(M / ``speed``),F): between two frames linearly, in nats; an ``ArrayStream``,
    reusable after :meth:`finish`. The output does not depend on how the input is split."""

    def __init__(self, speed: float, n_mels: int) -> None:
        self._speed, self._n_mels = speed, n_mels
        self._begin()

    def _begin(self) -> None:
        self._held = np.zeros((0, self._n_mels), np.float32)  # frames of the input from `_start` on
        self._start = self._given = self._returned = 0  # frames

    def push(self, piece: NDArray[np.float32]) -> NDArray[np.float32]:
        """(M,F) -> the frames that no later input changes."""
        self._given += len(piece)
        self._held = np.concatenate([self._held, piece])
        count = self._returned  # of all output frames whose two input frames are there
        while self._place(count) < self._given - 1:
            count += 1
        return self._made(count)

    def finish(self) -> NDArray[np.float32]:
        """The rest; places after the last frame of the input get that frame."""
        rest = self._made(max(self._returned, round(self._given / self._speed)))
        self._begin()
        return rest

    def _place(self, frame: int) -> float:
        """Of a frame of the output, in frames of the input."""
        return frame * self._speed

    def _made(self, count: int) -> NDArray[np.float32]:
        """The frames of the output up to ``count``; forgets the input that only they need."""
        places = np.minimum(np.arange(self._returned, count) * self._speed, self._given - 1)
        before = np.floor(places).astype(np.int64)
        share = (places - before).astype(np.float32)[:, None]
        first = self._held[before - self._start]
        second = self._held[np.minimum(before + 1, self._given - 1) - self._start]
        self._returned = count
        forgotten = min(int(self._place(count)), self._given)
        self._held, self._start = self._held[max(0, forgotten - self._start) :], max(self._start, forgotten)
        made: NDArray[np.float32] = first + share * (second - first)
        return made
