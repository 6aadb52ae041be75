"""Phase dispersion: an all-pass filter that spreads what a vocoder piles up at the centers of its frames.

A spectral loss leaves the phases of noise and of unresolved harmonics undetermined, so a network gives the same ones to
all bins: each frame becomes a pulse at its center, and the pulses, one per hop, are heard as a buzz. The filter delays
neighboring frequencies differently, in sweeps as wide as a critical band (Glasberg and Moore 1990; low-peak-factor
phases: Schroeder 1970). The sweeps shift from hop to hop, so no pulse is like the one before. Magnitudes and everything
below :data:`LOWEST` stay.

Shapes: N samples, H hop, W samples that a block of H depends on, J filters.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LOWEST = 2000.0  # Hz: below, harmonics are resolved and phases are learned
EDGE = 400.0  # Hz: width of the transition
SWEEP = 1.5  # width of a sweep, in equivalent rectangular bandwidths of the ear
SPREAD = 1.5  # range of the delays of a sweep, in hops
FILTERS = 8  # J; after so many hops the sweeps are where they were
POINTS = 32  # frequencies per tap at which the responses are sampled


def reach(hop: int) -> int:
    """Samples before and after a block that it depends on."""
    return hop * 5 // 4


@lru_cache(maxsize=4)
def block_filters(rate: int, hop: int) -> NDArray[np.float32]:
    """(J,W,H): block ``n`` of H samples is the W samples around it times matrix ``n % J``, which fades from one filter
    to the next."""
    low, high = _filters(rate, hop)
    taps = low.size
    made = np.zeros((FILTERS, hop + taps - 1, hop), np.float32)
    turn = np.pi / 2 * (np.arange(hop) + 0.5) / hop
    for block in range(FILTERS):
        one, next_one = high[-block % FILTERS], high[-(block + 1) % FILTERS]
        for place in range(hop):
            mixed = low + np.cos(turn[place]) * one + np.sin(turn[place]) * next_one
            made[block, place : place + taps, place] = mixed[::-1]
    return made


def _filters(rate: int, hop: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(L,) the low-pass filter, and (J,L) the dispersing high-pass filters that complement it; L = 2 reach + 1."""
    side = reach(hop)
    size = POINTS * side
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    share = np.sin(np.pi / 2 * np.clip((frequencies - LOWEST) / EDGE + 0.5, 0, 1)) ** 2
    bands = (_erb_number(frequencies) - _erb_number(np.array(LOWEST))) / SWEEP
    responses = [(1 - share).astype(complex)]
    for number in range(FILTERS):
        delays = SPREAD * hop * ((bands + number / FILTERS) % 1 - 0.5) * (share > 0)  # samples
        responses.append(share * np.exp(-2j * np.pi * np.cumsum(delays) / size))
    found = np.fft.fftshift(np.fft.irfft(np.array(responses), size), axes=1)
    kept = found[:, size // 2 - side : size // 2 + side + 1]
    fade = max(1, side - round(SPREAD * hop / 2))
    ramp = np.sin(np.pi / 2 * np.clip((np.arange(side + 1) + 0.5) / fade, 0, 1)) ** 2
    kept = kept * np.concatenate([ramp, ramp[-2::-1]])
    return kept[0], kept[1:]


def _erb_number(frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hz -> number of equivalent rectangular bandwidths below (Glasberg and Moore 1990)."""
    return np.asarray(21.4 * np.log10(1 + 0.00437 * frequencies))


class DispersionStream:
    """Streaming (N,) samples -> as many, late by :func:`reach` and a block; reusable after :meth:`finish`."""

    def __init__(self, rate: int, hop: int) -> None:
        self._blocks, self._hop, self._reach = block_filters(rate, hop), hop, reach(hop)
        self._begin()

    def _begin(self) -> None:
        self._held = np.zeros(self._reach, np.float32)
        self._done = 0  # blocks
        self._owed = 0  # samples pushed and not returned

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,) -> the whole blocks that no later sample changes."""
        self._owed += samples.size
        made = self._filtered(samples)
        self._owed -= made.size
        return made

    def finish(self) -> NDArray[np.float32]:
        """The rest; silence follows."""
        made = self._filtered(np.zeros(self._reach + -self._owed % self._hop, np.float32))[: self._owed]
        self._begin()
        return made

    def _filtered(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        held, hop, width = np.concatenate([self._held, samples]), self._hop, self._blocks.shape[1]
        made = [samples[:0]]
        for begin in range(0, held.size - width + 1, hop):  # one by one, so that no sum depends on how it was split
            made.append(held[begin : begin + width] @ self._blocks[self._done % FILTERS])
            self._done += 1
        self._held = held[(len(made) - 1) * hop :]
        return np.concatenate(made)
